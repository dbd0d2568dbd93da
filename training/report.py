"""The report as files: `report.json` for programs, a self-contained `report.html` for people."""

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training import charts
from training.contract import Report, Trial

TEMPLATE = "report.html.j2"


def html(report: Report) -> str:
    """The page. It loads nothing from anywhere, and shows the texts of requests and answers as texts."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: Markup(svg) for name, svg in charts.charts(report).items()}  # noqa: S704 - drawn here, escaped there
    return pages.get_template(TEMPLATE).render(
        report=report, ways=charts.ways(report), charts=drawn, trials=_best_first(report)
    )


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
