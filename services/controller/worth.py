"""What a pair of answers to one call says of the student; pure.

The student is judged as the caller would meet it: where its answer would not be kept (the validators refuse it, or a
cascade finds it unsure) the caller gets the teacher's, and both err alike.

People's word. Where they wrote the right answer, or the question is a golden one, both are compared with it. A rating
tells of the answer that was shown alone: if that was right, another one is wrong; if it was wrong, nobody knows of the
other one, and it counts as right if it is the teacher's and as wrong if it is the student's.

Whose word. Callers correct what they were shown, and mostly where it was wrong. While the student is unseen that is the
teacher's answer, so their corrections are a list of the teacher's errors, and any student looks well beside it. So only
what was drawn without a look at the answers counts: golden questions, and feedback whose metric `audit` is above 0.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from protos import events_pb2 as events
from services.tasks import meaning


@dataclass(frozen=True, slots=True)
class Pair:
    """One call about which both were asked."""

    kind: str
    at: datetime
    shown: Literal["teacher", "student"]  # whose answer the caller got
    agreed: bool  # whether both mean the same
    silent: bool  # the student gave no answer
    refusal: str  # why its answer would not be kept: of the validators, or why there is none
    confidence: float | None
    truth: str | None  # the right answer, by a correction or the golden set
    golden: bool
    audited: bool  # people judged it as it had been drawn, not as it was wrong
    rating: float | None
    teacher: str  # the answers' texts; may be empty where `truth` is None
    student: str
    teacher_usd: float
    student_usd: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Whether the answers that a caller would get are wrong."""

    teachers: bool
    ways: bool  # of the way that is to be promoted

    @property
    def difference(self) -> int:
        """-1, 0 or 1: above 0 where only the new way is wrong."""
        return self.ways - self.teachers


def kept(pair: Pair, way: events.Policy) -> bool:
    """Whether the caller would get the student's answer under that way."""
    if pair.silent or pair.refusal:
        return False
    least = way.min_confidence
    return way.kind != events.POLICY_KIND_CASCADE or (
        pair.confidence is not None and least < 0 and pair.confidence >= least
    )


def differs(pair: Pair, way: events.Policy) -> bool:
    """Whether the caller would get another answer than the teacher's."""
    return kept(pair, way) and not pair.agreed


def errors(pair: Pair, way: events.Policy, truth: Literal["drawn", "all"]) -> Errors | None:
    """What people say of the pair; None where nobody said anything that counts."""
    if not (pair.golden or pair.audited or truth == "all"):
        return None
    wrong = _compared(pair) if pair.truth is not None else _rated(pair)
    if wrong is None:
        return None
    teachers, students = wrong
    return Errors(teachers, students if kept(pair, way) else teachers)


def costs(pair: Pair, way: events.Policy) -> float | None:
    """What the call would cost, in parts of what the teacher alone costs, 2 at most; None where that costs nothing."""
    if pair.teacher_usd <= 0:
        return None
    behind_usd = 0.0 if kept(pair, way) else pair.teacher_usd
    return min(2.0, (pair.student_usd + behind_usd) / pair.teacher_usd)


def _compared(pair: Pair) -> tuple[bool, bool]:
    right = meaning(pair.truth or "")
    return meaning(pair.teacher) != right, meaning(pair.student) != right


def _rated(pair: Pair) -> tuple[bool, bool] | None:
    """Teacher's and student's, from a rating of the one that was shown."""
    if not pair.rating:
        return None
    wrong = pair.rating < 0
    if pair.agreed:
        return wrong, wrong
    return (wrong, True) if pair.shown == "teacher" else (not wrong, wrong)
