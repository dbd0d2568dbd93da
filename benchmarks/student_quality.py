"""How good is a student of the default recipe, beside the obvious others? `python -m benchmarks.student_quality`.

Four tasks of public data that people labelled, fetched from the package index by pip:

- `addresses`: real US addresses into fields, from usaddress; the student tags. Beside it usaddress' own parser as it is
  shipped (fitted on these very files, golden examples included) and fitted anew, and a linear tagger.
- `reviews`: sentences of reviews as positive, neutral or negative, from vaderSentiment; the student classifies. Beside
  it VADER, and linear models on TF-IDF and on the untuned encoder.
- `functions`: which function a question is for, from bfcl-eval; the student classifies. Beside it linear models.
- `calls`: a call with its arguments, from bfcl-eval, for functions that nobody learnt from; the student writes. Beside
  it a linear model that points at values.

Beside all of them the untuned SmolLM2-135M-Instruct, told what to do and shown examples. The student is the default
config of its kind, and nothing of it is changed but the seed, and the time if `--minutes` says so.

The golden examples are the same for everyone and every seed; no group stands on both sides, and what is nearly the same
as something that can be learnt from is left out. A seed draws what is learnt from and starts the training. What was
found stays in the directory, and a benchmark that was interrupted goes on from there.
"""

import argparse
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import quality_figures, quality_student
from benchmarks.quality_base import untuned
from benchmarks.quality_contestants import Settings, of, say, turns
from benchmarks.quality_figures import STUDENT
from benchmarks.quality_task import Answers, Example, Task, apart, drawn, unleaked, write
from benchmarks.quality_tasks import TASKS
from benchmarks.result import Help, tell
from training.scoring import Flags


def measure(task: Task, settings: Settings) -> dict[str, Any]:
    """Everyone's answers, judged."""
    parts = apart(task.examples(settings.directory), task.golden_share)
    home = settings.directory / f"{task.name}-{settings.size}-{_digest(parts['train'] + parts['golden'])}"
    golden = unleaked(parts, settings.golden, home / "whole")
    splits = {seed: drawn(parts | {"golden": golden}, settings.train, seed) for seed in settings.seeds}
    first, *_ = splits.values()
    say(f"{task.name}: {len(first.train)} to learn from, {len(golden)} golden")
    asked = turns(task, splits, settings, home, untuned)
    wrong = {name: [_wrong(task, golden, turn.answers()) for turn in some] for name, some in asked.items()}
    return {
        "learnt_from": len(first.train),
        "golden": len(golden),
        "leaked": min(settings.golden, len(parts["golden"])) - len(golden),
        **quality_figures.figures(wrong, task.informed),
        "student": [quality_student.told(of(home, seed) / STUDENT) for seed in settings.seeds],
        "unsuited": quality_student.unsuited(task, write(first, home / "first")),
    }


def _wrong(task: Task, golden: Sequence[Example], said: Answers) -> Flags:
    """Of as many examples as were asked, the first."""
    return np.array([not task.right(*pair) for pair in zip(golden, said, strict=False)], dtype=bool)


def _digest(examples: Iterable[Example]) -> str:
    """Of another version's data, or of other splits, nothing is taken over."""
    return hashlib.sha256("\0".join(f"{one.text}\0{one.answer}" for one in examples).encode()).hexdigest()[:8]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--train", type=int, default=4_000, help="examples to learn from, at most")
    parser.add_argument("--golden", type=int, default=1_000, help="examples to be judged on, at most")
    parser.add_argument(
        "--base-questions", type=int, default=100, help="golden examples that the untuned base is asked"
    )
    parser.add_argument("--minutes", type=float, default=None, help="for each training; else as its config says")
    parser.add_argument("--threads", type=int, default=2, help="cores that all of it may use")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path.home() / ".cache" / "tutelage" / "student_quality",
        help="for what is fetched and found",
    )
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    settings = Settings(
        given.seeds, given.train, given.golden, given.base_questions, given.minutes, given.directory.absolute()
    )
    found = {name: measure(TASKS[name], settings) for name in given.tasks}
    tell("student_quality", {"seeds": given.seeds, "tasks": found}, quality_figures.goals(found))


if __name__ == "__main__":
    main()
