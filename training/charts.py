"""The report's charts, as SVG texts that stand inside an HTML page and load nothing."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from training import growth_chart
from training.contract import Report, Score

COLOURS = {"teacher": "#b45309", "student": "#2563eb", "cascade": "#047857"}  # apart for the colour-blind, too
MARKERS = {"teacher": "s", "student": "o", "cascade": "D"}
DASHES = {"teacher": "--", "student": ":", "cascade": "-"}
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
Draw = Callable[[Axes, Report], None]


def charts(report: Report) -> dict[str, str]:
    """SVG by chart name; a chart with nothing to show is left out."""
    draws: dict[str, tuple[Draw, bool]] = {
        "cost": (_cost, True),
        "latency": (_latency, True),
        "learning": (_learning, bool(report.learning_curve)),
        "threshold": (_threshold, bool(report.threshold_curve)),
        "kinds": (_kinds, len(report.teacher.kinds) > 1),
        "growth": (_growth, bool(report.search and report.search.growth and len(report.search.growth.points) > 1)),
    }
    return {name: _svg(name, draw, report) for name, (draw, shown) in draws.items() if shown}


def ways(report: Report) -> Mapping[str, Score]:
    """The three ways of answering, by name."""
    return {"teacher": report.teacher, "student": report.student, "cascade": report.cascade}


def _svg(name: str, draw: Draw, report: Report) -> str:
    with rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        draw(figure.add_subplot(), report)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(name, file.getvalue())


def _inline(name: str, svg: str) -> str:
    """Without prologue, metadata, namespaces and fixed size; with ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?)\s(?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?)\s(?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)


def others(report: Report) -> list[tuple[str, str, Score]]:
    """The candidates that were not chosen, alone and in their cascades: what it is, how it answers, its score."""
    rest = [one for one in report.candidates if one.name != report.chosen]
    return [
        (one.name, how, score) for one in rest for how, score in (("student", one.student), ("cascade", one.cascade))
    ]


def _cost(axes: Axes, report: Report) -> None:
    chosen = [(name, name, score) for name, score in ways(report).items()]
    for name, how, score in [*chosen, *others(report)]:
        bars = [[score.error - score.error_low], [score.error_high - score.error]]
        face = COLOURS[how] if name == how else "none"  # hollow: not chosen
        style: dict[str, Any] = {"color": COLOURS[how], "fmt": MARKERS[how], "capsize": 4, "markersize": 7, "mfc": face}
        axes.errorbar([score.usd_per_million], [score.error], yerr=bars, **style)
        label = name if name == how else f"{how} of {name}"
        place = (score.usd_per_million, score.error)
        size = 10 if name == how else 7
        axes.annotate(label, place, (9, 5), textcoords="offset points", color=COLOURS[how], fontsize=size)
    axes.axhline(report.error_ceiling, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    axes.annotate("ceiling", (0, report.error_ceiling), (4, 3), ("axes fraction", "data"), "offset points", fontsize=8)
    scores = [*ways(report).values(), *(score for *_, score in others(report))]
    axes.set_xscale("symlog" if min(score.usd_per_million for score in scores) <= 0 else "log")
    axes.margins(x=0.2)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda dollars, _: f"${dollars:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="cost of a million requests", ylabel="wrong answers")


def _latency(axes: Axes, report: Report) -> None:
    for name, score in ways(report).items():
        share = np.linspace(0, 1, len(score.latency_quantiles_ms))
        axes.plot(score.latency_quantiles_ms, share, DASHES[name], color=COLOURS[name], label=name, linewidth=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="milliseconds", ylabel="answered by then")
    axes.legend()


def _learning(axes: Axes, report: Report) -> None:
    curve = report.learning_curve
    axes.plot([p.step for p in curve], [p.train_loss for p in curve], color=COLOURS["student"], label="training")
    tested = [(point.step, point.eval_loss) for point in curve if point.eval_loss is not None]
    if tested:
        steps, losses = zip(*tested, strict=True)
        axes.plot(steps, losses, "o--", color=COLOURS["teacher"], label="held out")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="step", ylabel="loss, nats a token")
    axes.legend()


def _growth(axes: Axes, report: Report) -> None:
    if report.search and report.search.growth:
        growth_chart.draw(axes, report.search.growth)


def _threshold(axes: Axes, report: Report) -> None:
    rows = report.threshold_curve
    kept = np.array([row.kept for row in rows])
    error = np.array([row.error for row in rows])
    spread = np.array([row.error_se for row in rows])
    axes.fill_between(kept, np.maximum(0, error - spread), error + spread, color=COLOURS["cascade"], alpha=0.15)
    axes.plot(kept, error, color=COLOURS["cascade"], linewidth=2)
    chosen = min(range(len(rows)), key=lambda k: abs(rows[k].threshold - report.threshold))
    axes.plot(kept[chosen], error[chosen], MARKERS["cascade"], color=COLOURS["cascade"], markersize=8)
    where = "right" if kept[chosen] > 0.5 else "left"
    axes.annotate(
        f"chosen: {report.threshold:.2f}", (kept[chosen], error[chosen]), (0, 12), textcoords="offset points", ha=where
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="share of requests that the student answers", ylabel="estimated error of the cascade")


def _kinds(axes: Axes, report: Report) -> None:
    tags = list(report.teacher.kinds)
    for place, (name, score) in enumerate(ways(report).items()):
        found = [score.kinds[tag] for tag in tags]
        at = np.arange(len(tags)) + (place - 1) * 0.26
        bars = [[k.error - k.error_low for k in found], [k.error_high - k.error for k in found]]
        axes.bar(at, [k.error for k in found], 0.24, yerr=bars, color=COLOURS[name], label=name, capsize=3, ecolor=INK)
    axes.set_xticks(range(len(tags)), [f"{tag or '(none)'}\n{report.teacher.kinds[tag].n} examples" for tag in tags])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", visible=False)
    axes.set(ylabel="wrong answers")
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))  # above the bars, which may fill the chart
