"""Whether it helped to settle doubtful answers: a linear student, taught both ways and asked the golden set.

It learns in seconds what a real student would need minutes for, twice, and its errors tell the same: which of two
training splits is the better one. It is never served.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from training import scoring
from training.contract import AnswerKind, Helped, Interval, Job
from training.data import Row
from training.linear import Linear, Tagger, of_text
from training.scoring import Flags
from training.sheets import are_labels, in_parts

TEXTS: Final = "answers are free texts, of which a linear student learns nothing"
TEACHERS: Final = "there is no golden set of people's: by the teacher's own answers its mistakes are right"
SAME: Final = "nothing is learnt otherwise than it was given"
NOT_THERE: Final = "answers are neither labels nor in their prompts nor chosen, so a linear student learns nothing"

Say = Callable[[Sequence[str], Sequence[str], Sequence[float], Sequence[str]], list[str]]
"""The answers to questions of a linear student: taught prompts, answers and weights, and asked prompts."""


def helped(job: Job, golden: Sequence[Row], given: Sequence[Row], settled: Sequence[Row]) -> Helped | str:
    """The errors of both ways, or why they are not known."""
    if why := _objection(job, given, settled):
        return why
    say = _labelled if _as_labels(job.answer_kind, given) else _tagged
    before, after = (_wrong(job.answer_kind, golden, taught, say) for taught in (given, settled))
    return Helped(
        given=_interval(before), settled=_interval(after), settled_minus_given=scoring.difference(after, before)
    )


def _objection(job: Job, given: Sequence[Row], settled: Sequence[Row]) -> str:
    if job.answer_kind == "text" or job.truth == "teacher":
        return TEXTS if job.answer_kind == "text" else TEACHERS
    if settled == given:
        return SAME
    able = _as_labels(job.answer_kind, given) or (any(in_parts(given)) and any(in_parts(settled)))
    return "" if able else NOT_THERE


def _as_labels(kind: AnswerKind, table: Sequence[Row]) -> bool:
    return kind == "label" or are_labels(table)


def _wrong(kind: AnswerKind, golden: Sequence[Row], taught: Sequence[Row], say: Say) -> Flags:
    """Which golden examples a student gets wrong that was taught those rows, each by its weight."""
    prompts, answers = [row["prompt"] for row in taught], [row["completion"] for row in taught]
    weights, asked = [row["weight"] for row in taught], [row["prompt"] for row in golden]
    said = say(prompts, answers, weights, asked)
    return np.array(
        [not scoring.right(kind, row["truth"], answer) for row, answer in zip(golden, said, strict=True)], dtype=bool
    )


def _tagged(
    prompts: Sequence[str], answers: Sequence[str], weights: Sequence[float], asked: Sequence[str]
) -> list[str]:
    return Tagger().fit(prompts, answers, weights).answer(asked)


def _labelled(
    prompts: Sequence[str], answers: Sequence[str], weights: Sequence[float], asked: Sequence[str]
) -> list[str]:
    labels = [answer.strip() for answer in answers]
    student = Linear().fit([of_text(prompt) for prompt in prompts], labels, weights)
    return student.best([of_text(prompt) for prompt in asked])


def _interval(wrong: Flags) -> Interval:
    error, low, high = scoring.error_interval(wrong)
    return Interval(error=error, low=low, high=high)
