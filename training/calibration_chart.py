"""The reliability diagram: how often answers are right that a student is so and so sure of."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from training.chart_style import INK, SERIES
from training.contract import Calibration

MARKS = "osD^vP"
MARGIN = 0.05


def draw(axes: Axes, found: Mapping[str, Calibration]) -> None:
    """A line for each student, by name, the chosen one's first."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (2, 2)), label="as right as sure")
    for place, (name, one) in enumerate(found.items()):
        rights = [group.right for group in one.bins]
        bars = [
            [group.right - group.low for group in one.bins],
            [group.high - group.right for group in one.bins],
        ]
        axes.errorbar(
            [group.sure for group in one.bins],
            rights,
            yerr=bars,
            color=SERIES[place % len(SERIES)],
            marker=MARKS[place % len(MARKS)],
            markersize=5,
            linewidth=1.6,
            elinewidth=0.9,
            capsize=2,
            label=name,
        )
    least = min(min(group.sure, group.low) for one in found.values() for group in one.bins)
    axes.set_xlim(max(0.0, least - MARGIN), 1.02)
    axes.set_ylim(max(0.0, least - MARGIN), 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="how sure the student is", ylabel="right answers")
    axes.legend(loc="upper left")
