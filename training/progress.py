"""The progress log: one JSON line a `Progress`, appended, for whoever tails it."""

import time
from pathlib import Path
from typing import Any

from training.contract import Progress, Stage


def write(output: Path, stage: Stage, **figures: Any) -> None:
    """Append one line to `<output>/train.jsonl`."""
    line = Progress(stage=stage, at=time.time(), **figures).model_dump_json(exclude_none=True)
    with (output / "train.jsonl").open("a") as log:
        log.write(line + "\n")
