"""The report as files."""
from pathlib import Path

from training.contract import Report


def write(report: Report, output: Path) -> None:
    """Write `report.html`, then `report.json`."""
    part = output / "report.json.part"
    part.write_text(report.model_dump_json(indent=2))
    part.replace(output / "report.json")
