"""Who stands in a task of benchmarks.student_quality, asked once each: what they said is kept on disk."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import quality_student
from benchmarks.quality_figures import STUDENT
from benchmarks.quality_task import Answers, Splits, Task

UNTUNED: Final = "untuned SmolLM2"
Untuned = Callable[[Task, Splits, int, Path], Answers]
"""Asked about so many golden examples, with a directory for what is made."""


@dataclass(frozen=True)
class Settings:
    """How much is done, and where it is kept."""

    seeds: list[int]
    train: int
    golden: int
    base_questions: int
    minutes: float | None
    directory: Path

    @property
    def size(self) -> str:
        """Part of a directory's name."""
        limit = f"-{self.minutes:g}-minutes" if self.minutes else ""
        return f"{self.train}-{self.golden}{limit}"


@dataclass(frozen=True)
class Turn:
    """One time that a contestant is asked."""

    file: Path
    ask: Callable[[], Answers]

    def answers(self) -> Answers:
        """Those in the file, or fresh ones, which then lie there."""
        if not self.file.is_file():
            started = time.monotonic()
            said = self.ask()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part = self.file.with_suffix(".part")
            part.write_text(json.dumps(said))
            part.rename(self.file)
            say(f"  {self.file.relative_to(self.file.parents[2])}: {time.monotonic() - started:.0f} s")
        found: Answers = json.loads(self.file.read_text())
        return found


def turns(
    task: Task, splits: Mapping[int, Splits], settings: Settings, home: Path, untuned: Untuned
) -> dict[str, list[Turn]]:
    """By contestant, a turn for each seed, or one where it learns nothing. `splits` are by seed."""
    first, *_ = splits.values()
    fetched, asked = settings.directory, settings.base_questions
    base = partial(untuned, task, first, asked, fetched)
    once = {name: [Turn(home / f"{name}.json", partial(ask, first, 0, fetched))] for name, ask in task.fixed.items()}
    once[UNTUNED] = [Turn(home / f"{UNTUNED}, {asked} questions, seed {settings.seeds[0]}.json", base)]
    learners = {name: partial(_asked, ask, fetched) for name, ask in task.learners.items()}
    learners[STUDENT] = partial(quality_student.student, task, settings.minutes)
    of_seeds = {
        name: [
            Turn(of(home, seed) / f"{name}.json", partial(ask, one, seed, of(home, seed) / name))
            for seed, one in splits.items()
        ]
        for name, ask in learners.items()
    }
    return once | of_seeds


def of(home: Path, seed: int) -> Path:
    """Where a seed's answers lie."""
    return home / f"seed-{seed}"


def _asked(ask: Callable[..., Answers], fetched: Path, splits: Splits, seed: int, own: Path) -> Answers:  # noqa: ARG001
    """A contestant with no directory of its own."""
    return ask(splits, seed, fetched)


def say(line: str) -> None:
    """Progress, beside the result."""
    print(line, file=sys.stderr, flush=True)
