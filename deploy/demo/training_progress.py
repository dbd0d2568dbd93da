"""A run's progress lines, as bars on the screen."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID


def follow(runs_dir: Path, run_id: str, bar: Progress) -> Iterator[None]:
    """Show what the run has written to its train.jsonl since the last `next`. Never ends by itself."""
    shown: dict[str, TaskID] = {}
    place = 0
    while True:
        path = next(iter(runs_dir.glob(f"**/{run_id}/**/train.jsonl")), None)
        if path:
            with path.open("rb") as file:
                file.seek(place)
                whole, _, _torn = file.read().rpartition(b"\n")
            place += len(whole) + 1 if whole else 0
            for line in whole.splitlines():
                _show(json.loads(line), bar, shown)
        yield


def _show(line: dict[str, Any], bar: Progress, shown: dict[str, TaskID]) -> None:
    stage = str(line["stage"])
    if stage not in shown:
        for done in shown.values():
            bar.update(done, completed=bar.tasks[done].total or 1, total=bar.tasks[done].total or 1)
        shown[stage] = bar.add_task(stage, total=None, note="")
    if total := line.get("steps") or line.get("total"):
        bar.update(shown[stage], completed=line.get("step") or line.get("done") or 0, total=total)
    notes = [f"loss {line['loss']:.3f}"] if line.get("loss") is not None else []
    notes += [f"{line['tokens_per_s']:.0f} tokens/s"] if line.get("tokens_per_s") else []
    if notes or line.get("message"):
        bar.update(shown[stage], note=", ".join(notes) or line["message"])
