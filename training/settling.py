"""What becomes of an answer that is likely wrong; pure.

Three may have a say: the teacher, whose answer it is, linear students that learnt from others (`doubts`), and a second
teacher where one was asked. Where both teachers agree, the answer is kept. To be learnt instead, another answer needs
two of the three behind it, the students and the second teacher, and the validators' consent: the second teacher alone
is about as often wrong as the first, and mostly on the same hard questions. Where there is no second teacher the
students must be sure. All else is left out, or weighs less where that is wanted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from training.contract import Doubtful, Frozen
from training.data import Row
from training.doubts import SURE

Fate = Literal["kept", "relabelled", "left_out", "down_weighted"]
DOWN_WEIGHT: Final = 0.2
"""What an answer that is weighed down counts of what it would. One in ten of those doubted is right."""


class Settled(Frozen):
    """What is to be learnt of a row."""

    place: int
    id: str
    why: str  # it was doubted
    fate: Fate
    completion: str = ""  # the answer to be learnt instead
    weight: float = 1.0  # of what the row would count


@dataclass(frozen=True)
class Said:
    """The answers to one question; '' of students that can say nothing, None of a second teacher that was not asked."""

    teacher: str
    students: str = ""
    sure: float = 0.0
    second: str | None = None


def settle(
    wanted: Doubtful, said: Said, same: Callable[[str, str], bool], accepts: Callable[[str], bool]
) -> tuple[Fate, str]:
    """What becomes of the teacher's answer, and the answer that replaces it. `accepts` are the validators."""
    if said.second is not None and same(said.teacher, said.second):
        return "kept", ""
    if wanted == "down_weight":
        return "down_weighted", ""
    other = _other(said, same) if wanted == "relabel" else ""
    return ("relabelled", other) if other and accepts(other) else ("left_out", "")


def _other(said: Said, same: Callable[[str, str], bool]) -> str:
    """Another answer that can be believed, '' if there is none."""
    if not said.students or same(said.teacher, said.students):
        return ""
    if said.second is None:
        return said.students if said.sure >= SURE else ""
    return said.second if same(said.students, said.second) else ""


def learnt(table: Sequence[Row], settled: Mapping[int, Settled]) -> list[Row]:
    """The rows as they are to be learnt from; `settled` by their places."""
    return [
        _mended(row, settled[place]) if place in settled else row
        for place, row in enumerate(table)
        if place not in settled or settled[place].fate != "left_out"
    ]


def left_out(table: Sequence[Row], settled: Mapping[int, Settled]) -> Counter[str]:
    """How many of the rows that have a prompt are left out, by the reason."""
    gone = [one.why for one in settled.values() if one.fate == "left_out" and table[one.place]["prompt"]]
    return Counter(gone)


def _mended(row: Row, one: Settled) -> Row:
    return {**row, "completion": one.completion or row["completion"], "weight": row["weight"] * one.weight}
