"""What a second teacher says to questions whose answers are doubtful.

It is told the task's instructions, where there are any, and a few undoubted examples. What it said is appended to
`opinions.jsonl`, so that a run that goes on asks nothing twice. If all of several questions in a row fail, the API is
down or refuses: no more are asked.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import progress
from training.config import Config
from training.contract import Job
from training.data import Row
from training.second_teacher import SecondTeacher, SecondTeacherFailed, Shot

FILE: Final = "opinions.jsonl"
SHOTS: Final = 6
AT_ONCE: Final = 8
"""Questions that are asked at a time: most of the time is waiting. So many failures in a row are enough, too."""


@dataclass(frozen=True)
class Heard:
    """The second teacher's answers by the rows' places."""

    asked: int
    answers: Mapping[int, str]
    why: str = ""  # the first failure


def heard(job: Job, config: Config, table: Sequence[Row], doubtful: Sequence[int], teacher: SecondTeacher) -> Heard:
    """Asks about the doubtful rows, as many as the config wants."""
    wanted = _drawn(doubtful, config.most_second_opinions, config.seed)
    shots = examples(table, set(doubtful), config.seed)
    answers, failures = _known(job.output, teacher, wanted), list[str]()
    todo = [place for place in wanted if place not in answers]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for some in _in_parts(todo):
            said = list(threads.map(lambda place: _answer(teacher, job, shots, table[place]["question"]), some))
            new = {place: one for place, one in zip(some, said, strict=True) if isinstance(one, str)}
            _append(job.output, teacher, new)
            answers |= new
            failures += [str(one) for one in said if isinstance(one, SecondTeacherFailed)]
            done = {"done": len(answers) + len(failures), "total": len(wanted)}
            progress.write(job.output, "settle", message=f"{teacher.name} is asked for second opinions", **done)
            if not new:
                break
    return Heard(len(wanted), answers, failures[0] if failures else "")


def examples(table: Sequence[Row], doubtful: set[int], seed: int) -> list[Shot]:
    """Some questions with answers that nobody doubts, none of them one that is to be asked."""
    asked = {table[place]["question"] for place in doubtful}
    free = [row for place, row in enumerate(table) if place not in doubtful and row["question"] not in asked]
    return [(free[place]["question"], free[place]["completion"]) for place in _drawn(range(len(free)), SHOTS, seed)]


def _drawn(places: Sequence[int], most: int, seed: int) -> list[int]:
    draw = random.Random(seed)  # noqa: S311 - a choice, not a secret
    return sorted(draw.sample(places, min(most, len(places))))


def _in_parts(places: Sequence[int]) -> Iterator[Sequence[int]]:
    yield from (places[at : at + AT_ONCE] for at in range(0, len(places), AT_ONCE))


def _answer(teacher: SecondTeacher, job: Job, shots: Sequence[Shot], question: str) -> str | SecondTeacherFailed:
    """A question that it fails on stays without an opinion; the others do not."""
    try:
        return teacher.answer(job.instructions, shots, question)
    except SecondTeacherFailed as failed:
        return failed


def _known(output: Path, teacher: SecondTeacher, wanted: Sequence[int]) -> dict[int, str]:
    """What this teacher had said before."""
    path = output / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    whole = [one for line in lines if (one := _read(line))]
    return {one["row"]: one["said"] for one in whole if one["by"] == teacher.name and one["row"] in wanted}


def _read(line: str) -> dict[str, Any]:
    """Nothing of a line that a killed launcher left half written."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}


def _append(output: Path, teacher: SecondTeacher, said: Mapping[int, str]) -> None:
    with (output / FILE).open("a", encoding="utf-8") as file:
        for place, text in said.items():  # on a new line, as the last one may be half written
            file.write("\n" + json.dumps({"row": place, "by": teacher.name, "said": text}))
