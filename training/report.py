"""The report as files: `report.json` for programs, a self-contained `report.html` for people."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training import advice, charts, confusion, economics, marking, pareto, verdict, wording
from training.contract import Report, Trial
from training.verdict import Rule

TEMPLATE = "report.html.j2"
UNITS: Final[dict[str, Callable[..., Any]]] = {
    "dollars": wording.dollars,
    "milliseconds": wording.milliseconds,
    "days": wording.days,
    "span": wording.span,
    "sentence": wording.sentence,
    "exp": math.exp,
    "code": wording.code,
}


def html(report: Report) -> str:
    """The page. It loads nothing from anywhere, and shows the texts of requests and answers as texts."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {**UNITS, "told": _told}
    return pages.get_template(TEMPLATE).render(_shown(report))


def _shown(report: Report) -> dict[str, Any]:
    """What the templates are told."""
    options, found = pareto.options(report), verdict.judge(report, Rule.of(report))
    return {
        "report": report,
        "ways": charts.ways(report),
        "charts": {name: Markup(svg) for name, svg in charts.charts(report).items()},  # noqa: S704 - drawn, and escaped, there
        "calibrations": charts.calibrations(report),
        "trials": _best_first(report),
        "verdict": found,
        "looked_at": verdict.LOOKED_AT[report.truth],
        "examples": verdict.EXAMPLES[report.truth],
        "steps": advice.next_steps(report, found),
        "options": options,
        "priced": pareto.priced(options),
        "timed": pareto.timed(options),
        "by_cost": pareto.by_cost(options),
        "by_time": pareto.by_latency(options),
        "cost": pareto.cost,
        "latency": pareto.latency,
        "account": economics.economics(report),
        "matrix": confusion.matrix(report.student.confusion),
        "mistakes": [(one, *marking.marked(one.truth, one.answer)) for one in report.mistakes],
    }


def _told(amount: float, unit: str) -> str:
    return str(UNITS[unit](amount))


def write(report: Report, output: Path) -> None:
    """Write `report.html`, then `report.json` in one piece: who sees it knows that the job is done."""
    (output / "report.html").write_text(html(report), encoding="utf-8")
    part = output / "report.json.part"
    part.write_text(report.model_dump_json(indent=2), encoding="utf-8")
    part.replace(output / "report.json")


def _best_first(report: Report) -> list[Trial]:
    """The search's trials by their loss; those without one last."""
    trials = report.search.trials if report.search else []
    return sorted(trials, key=lambda trial: math.inf if trial.eval_loss is None else trial.eval_loss)
