"""The charts of error against cost and against time: every way that was measured, and those that nothing beats."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from training.chart_style import COLOURS, INK, MARKERS
from training.contract import Amount
from training.pareto import Option

Respect = Callable[[Option], Amount]
LEAST_SHARE = 0.05
"""Of a value: a bar on a logarithmic axis ends there, as it can't go to 0."""


FEW = 300
"""Times as much at the far end: below, powers of ten alone leave an axis nearly without numbers."""
NEAR = 10
"""Below, so do their halves and fifths."""


def draw(axes: Axes, found: Sequence[Option], unbeaten: Sequence[Option], respect: Respect, ceiling: float) -> None:
    """Numbered points with 95 % bars both ways; the front as a stepped line through its ringed points."""
    _front(axes, [(respect(one).value, one.score.error) for one in unbeaten])
    for option in found:
        _point(axes, option, respect(option))
    _numbers(axes, found, respect)
    axes.axhline(ceiling, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    axes.annotate("ceiling", (1, ceiling), (-4, 3), ("axes fraction", "data"), "offset points", fontsize=8, ha="right")
    _axes(axes, [respect(one).value for one in found], max(ceiling, *(one.score.error_high for one in found)))


def _front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    costs, errors = zip(*points, strict=True)
    axes.step(costs, errors, where="post", color="#9ca3af", linewidth=5, alpha=0.45, solid_capstyle="round")
    axes.plot(costs, errors, "o", color="#9ca3af", markersize=19, alpha=0.45, markeredgewidth=0)


def _point(axes: Axes, option: Option, amount: Amount) -> None:
    score, colour = option.score, COLOURS[option.how]
    across: dict[str, Any] = {}
    if amount.low is not None and amount.high is not None:
        across = {"xerr": [[amount.value - _seen(amount)], [amount.high - amount.value]]}
    up = [[score.error - score.error_low], [score.error_high - score.error]]
    face = colour if option.chosen else "white"
    axes.errorbar(
        [amount.value],
        [score.error],
        yerr=up,
        **across,
        color=colour,
        fmt=MARKERS[option.how],
        capsize=3,
        markersize=8,
        mfc=face,
        linewidth=1.2,
    )


def _numbers(axes: Axes, found: Sequence[Option], respect: Respect) -> None:
    """One text for all points that stand in nearly one place, as a student and a cascade that asks nobody do."""
    places = dict[tuple[str, str], list[Option]]()
    for option in found:
        places.setdefault((f"{respect(option).value:.2g}", f"{option.score.error:.2f}"), []).append(option)
    for first, *others in places.values():
        text = ", ".join(str(one.number) for one in (first, *others))
        place, colour = (respect(first).value, first.score.error), COLOURS[first.how]
        axes.annotate(text, place, (8, 5), textcoords="offset points", color=colour, fontweight="bold")


def _seen(amount: Amount) -> float:
    """The lower end, where an axis can show it."""
    return max(amount.low or 0.0, LEAST_SHARE * amount.value)


def _axes(axes: Axes, values: Sequence[float], top: float) -> None:
    if min(values) > 0:
        logarithmic(axes, values)
    else:
        axes.set_xscale("symlog", linthresh=min((value for value in values if value > 0), default=1.0))
    axes.margins(x=0.12)
    axes.set_ylim(0, min(1.04, 1.15 * top) or 1.0)  # a mark at 100 % is seen whole
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.set(ylabel="wrong answers")


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """The horizontal axis, with numbers enough for how far the values, all above 0, are apart."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    apart = max(values) / min(values)
    if apart < FEW:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if apart > NEAR else (1, 1.5, 2, 3, 4, 5, 6, 8)))


def dollars(axes: Axes) -> None:
    """The axis of cost."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: f"${usd:,.10g}"))
    axes.set(xlabel="cost of a million requests")


def milliseconds(axes: Axes) -> None:
    """The axis of time."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.10g}"))
    axes.set(xlabel="mean milliseconds of a request")
