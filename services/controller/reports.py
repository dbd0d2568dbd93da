"""A run's report: read from its file, and made to fit into an event."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from services.controller.errors import Refused
from training.contract import Report

MAX_REPORT_BYTES: Final = 900_000
"""Of report.json in a Run event: brokers refuse messages above 1 MB by default."""


def read(path: Path) -> Report | None:
    """The report, once there is one. Raises Refused if it is not one."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Refused(f"{path} is not a report: {error}") from error


def text(report: Report) -> str:
    """report.json, with fewer mistakes and curve points where it would not fit into an event."""
    whole = report.model_dump_json()
    while len(whole.encode()) > MAX_REPORT_BYTES and (report.mistakes or report.learning_curve):
        shorter = {
            "mistakes": report.mistakes[: len(report.mistakes) // 2],
            "learning_curve": report.learning_curve[::2] if len(report.learning_curve) > 1 else [],
        }
        report = report.model_copy(update=shorter)
        whole = report.model_dump_json()
    return whole
