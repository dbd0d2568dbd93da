"""What the report's charts have in common: colours, marks and settings."""

COLOURS = {"teacher": "#b45309", "student": "#2563eb", "cascade": "#047857"}  # apart for the colour-blind, too
MARKERS = {"teacher": "s", "student": "o", "cascade": "D"}
DASHES = {"teacher": "--", "student": ":", "cascade": "-"}
SERIES = ("#2563eb", "#b45309", "#047857", "#7c3aed", "#be185d", "#0e7490")
INK, FAINT = "#374151", "#e5e7eb"
SETTINGS = {
    "svg.fonttype": "none",  # text stays text: small, selectable, read aloud
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9ca3af",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
