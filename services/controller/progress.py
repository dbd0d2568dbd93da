"""How far a training is, in a sentence, from the progress logs in its run's folder."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from training.contract import Progress

LAST_BYTES: Final = 4096


def how_far(output: Path) -> str:
    """What the run, or the candidate that is at work, wrote last; '' before anything is."""
    logs = [path for path in (output / "train.jsonl", *output.glob("candidates/*/train.jsonl")) if path.is_file()]
    told = [(line, path.parent) for path in logs if (line := _last(path))]
    if not told:
        return ""
    line, folder = max(told, key=lambda pair: pair[0].at)
    name = f"{folder.name}: " if folder != output else ""
    return name + ", ".join(filter(None, (f"{line.stage} {_part(line)}".strip(), _left(line), line.message)))


def _last(path: Path) -> Progress | None:
    """The last whole line: one may be half written."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_BYTES))
        lines = file.read().split(b"\n")[:-1]
    try:
        return Progress.model_validate_json(lines[-1]) if lines else None
    except ValidationError:
        return None


def _part(line: Progress) -> str:
    if line.steps:
        return f"{line.step or 0} of {line.steps} steps"
    return f"{line.done or 0} of {line.total}" if line.total else ""


def _left(line: Progress) -> str:
    return f"about {line.eta_s:.0f} s left" if line.eta_s is not None else ""
