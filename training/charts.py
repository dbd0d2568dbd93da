"""The report's charts, as SVG texts that stand inside an HTML page and load nothing."""

import io
import math
import re
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from training import calibration_chart, growth_chart, pareto, tradeoff_chart
from training.chart_style import COLOURS, DASHES, INK, MARKERS, SETTINGS
from training.contract import Calibration, Report, Score

Draw = Callable[[Axes, Report], None]


def charts(report: Report) -> dict[str, str]:
    """SVG by chart name; a chart with nothing to show is left out."""
    draws: dict[str, tuple[Draw, bool]] = {
        "cost": (_cost, True),
        "time": (_time, True),
        "latency": (_latency, True),
        "calibration": (_calibration, bool(calibrations(report))),
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


def calibrations(report: Report) -> dict[str, Calibration]:
    """What is known of each student's confidence, by its name, the chosen one's first."""
    named = {one.name: one.calibration for one in sorted(report.candidates, key=lambda one: one.name != report.chosen)}
    return {name: one for name, one in (named or {"the student": report.calibration}).items() if one}


def _cost(axes: Axes, report: Report) -> None:
    found = pareto.options(report)
    tradeoff_chart.draw(axes, pareto.priced(found), pareto.by_cost(found), pareto.cost, report.error_ceiling)
    tradeoff_chart.dollars(axes)


def _time(axes: Axes, report: Report) -> None:
    found = pareto.options(report)
    tradeoff_chart.draw(axes, pareto.timed(found), pareto.by_latency(found), pareto.latency, report.error_ceiling)
    tradeoff_chart.milliseconds(axes)


def _calibration(axes: Axes, report: Report) -> None:
    calibration_chart.draw(axes, calibrations(report))


def _latency(axes: Axes, report: Report) -> None:
    known = [one.score for one in pareto.timed(pareto.options(report))]
    some = {name: score for name, score in ways(report).items() if score in known}
    for name, score in some.items():
        share = np.linspace(0, 1, len(score.latency_quantiles_ms))
        axes.plot(score.latency_quantiles_ms, share, DASHES[name], color=COLOURS[name], label=name, linewidth=2)
    tradeoff_chart.logarithmic(
        axes, [ms for score in some.values() for ms in score.latency_quantiles_ms if ms > 0] or [1]
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.10g}"))
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
    told = f"chosen: {math.exp(report.threshold):.0%} sure" if report.threshold < 0 else "chosen: none"
    axes.annotate(
        told,
        (kept[chosen], error[chosen]),
        (0, 12),
        textcoords="offset points",
        ha=where,
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
