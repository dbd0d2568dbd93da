"""From pairs and calls to what a ramp is decided by; pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from protos import events_pb2 as events
from services.controller import worth
from services.controller.confidence import Sample
from services.controller.history import Standing
from services.controller.pairs import MOST_PAIRS, Calls, Complaints
from services.controller.ramp import Claim, Climb
from services.controller.worth import Pair
from services.ramp import Ramp
from services.tasks import Task

COST_STEPS: Final = 16
"""Costs are rounded down to sixteenths of the teacher's: never to the student's harm."""
YES_OR_NO: Final = np.array([0.0, 1.0])


@dataclass(frozen=True)
class Aim:
    """What is climbed for: the way of answering that a report supports, for a task by its ramp."""

    task: Task
    ramp: Ramp
    way: events.Policy

    @property
    def p99_ms(self) -> int:
        """In which 99 of 100 answers must be there, in milliseconds."""
        return self.ramp.guards.p99_ms or self.task.latency_budget_ms

    @property
    def p95_ms(self) -> int:
        """In which 95 of 100 answers must be there, in milliseconds; the other bound where there is none."""
        return self.ramp.guards.p95_ms or self.p99_ms


def climb(aim: Aim, kind: str, at: Standing, pairs: Sequence[Pair]) -> Climb:
    """How far a kind has come, by pairs since it came to its stage.

    People's word: no more wrong than the teacher's by more than the margin, and no more than the ceiling. Where the
    teacher's word proves: no more unlike it than the ceiling, and what people said is no worse.
    """
    told = [said for pair in pairs if (said := worth.errors(pair, aim.way, aim.ramp.truth)) is not None]
    differences = Sample.of([one.difference for one in told], -1, 1)
    beside = Claim("more wrong than the teacher", differences, aim.ramp.margin, "points")
    if aim.task.proof == "people":
        proof, limit = beside, Claim("wrong", Sample.of([one.ways for one in told], 0, 1), aim.task.error_ceiling)
    else:
        unlike = Sample.of([worth.differs(pair, aim.way) for pair in pairs], 0, 1)
        proof, limit = Claim("unlike the teacher", unlike, aim.task.error_ceiling), beside
    crowded = len(pairs) >= MOST_PAIRS
    return Climb(kind, at.share, at.since, at.setbacks, proof, (limit,) if told else (), crowded)


def guards(aim: Aim, pairs: Iterable[Pair], calls: Sequence[Calls], said: Sequence[Complaints]) -> list[Claim]:
    """What must not be broken, over all kinds."""
    rule = aim.ramp.guards
    made = [
        Claim("calls without an answer", _of_calls(calls, lambda one: one.failed), rule.failed, hard=True),
        Claim("answers refused by validators", _of_calls(calls, lambda one: one.invalid), rule.invalid, hard=True),
        Claim(f"answers after {aim.p99_ms:,} ms", _of_calls(calls, lambda one: one.beyond_p99), 0.01),
        Claim("of the teacher's cost", _costs(pairs, aim.way), rule.cost),
        _complaints(said, rule.complaints, aim.ramp.alpha),
    ]
    if rule.p95_ms is not None:
        made.append(Claim(f"answers after {rule.p95_ms:,} ms", _of_calls(calls, lambda one: one.beyond_p95), 0.05))
    return made


def _of_calls(calls: Sequence[Calls], bad: Callable[[Calls], int]) -> Sample:
    counts = np.array([(one.asked - bad(one), bad(one)) for one in calls], dtype=float).reshape(-1, 2)
    return Sample(YES_OR_NO, counts, 0.0, 1.0)


def _costs(pairs: Iterable[Pair], way: events.Policy) -> Sample:
    found = [cost for pair in pairs if (cost := worth.costs(pair, way)) is not None]
    return Sample.of([int(cost * COST_STEPS) / COST_STEPS for cost in found], 0.0, 2.0)


def _complaints(said: Sequence[Complaints], more: float, alpha: float) -> Claim:
    """Beside what callers say of the teacher at the same time, at the upper end of what that may be."""
    students = np.array([(one.of_student - one.student, one.student) for one in said], dtype=float).reshape(-1, 2)
    teachers = np.array([(one.of_teacher - one.teacher, one.teacher) for one in said], dtype=float).reshape(-1, 2)
    usual = Sample(YES_OR_NO, teachers, 0.0, 1.0).upper(alpha)
    return Claim("answers that callers complain of", Sample(YES_OR_NO, students, 0.0, 1.0), usual + more)
