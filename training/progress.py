"""The progress log: one JSON line a `Progress`, appended, for whoever tails it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.contract import Progress, Stage


def write(output: Path, stage: Stage, **figures: Any) -> None:
    """Append one line to `<output>/train.jsonl`."""
    line = Progress(stage=stage, at=time.time(), **figures).model_dump_json(exclude_none=True)
    with (output / "train.jsonl").open("a") as log:
        log.write(line + "\n")


@contextmanager
def stage(output: Path, name: Stage, seconds: dict[str, float]) -> Iterator[None]:
    """Tells that a stage has begun, and notes how long it took."""
    write(output, name, message="started")
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start
