"""How each backend has been doing for each task: what is learned of its pace, and whether it is left alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import shedding
from services.gateway.breaker import Breaker, State
from services.gateway.hedge_budget import HedgeBudget
from services.gateway.pace import Pace
from services.gateway.router import Plan
from services.tasks import Student, Task, Teacher

NAMES: Final = {inference.BACKEND_TEACHER: "teacher", inference.BACKEND_STUDENT: "student"}
USUAL: Final = 0.95
"""The part of all that takes no longer than what is called usual."""
STALL_FACTOR: Final = 3.0
"""So many times the usual is a stall."""
LEAST_STALL_S: Final = 1.0
"""A shorter silence may be a lost packet or a busy host."""
UNLEARNED_STALL_S: Final = 10.0
"""As long as nothing is known. Large models may think for seconds before they say a word."""
FAIR_WAIT_S: Final = 1.0
"""Who was given less, and of whom nothing is known, is not to blame for having been too slow."""


@dataclass(slots=True)
class Standing:
    """One backend's, for one task and, if it is the student, one version."""

    firsts: Pace = field(default_factory=Pace)
    """From the question to the first piece of a stream."""
    gaps: Pace = field(default_factory=Pace)
    """The longest of each stream from piece to piece. One a stream is noted, not each: that would cost each a third."""
    answers: Pace = field(default_factory=Pace)
    """From the question to the whole answer."""
    breaker: Breaker = field(default_factory=Breaker)
    is_left_alone: bool = False
    """Whether the log says that the breaker is open."""

    def first_stall_s(self, bound_s: float | None, now_s: float) -> float:
        """After how long without a first piece a stream is called stalled; `bound_s` is the task's own setting."""
        return bound_s or _stall_s(self.firsts.quantile(USUAL, now_s))

    def gap_stall_s(self, bound_s: float | None, now_s: float) -> float:
        """The same between two pieces."""
        return bound_s or _stall_s(self.gaps.quantile(USUAL, now_s))

    def is_fair(self, waited_s: float, limit_s: float, now_s: float) -> bool:
        """Whether who did not answer in that time is to blame; `limit_s` is what the task itself gives it."""
        usual_s = self.answers.quantile(USUAL, now_s) or FAIR_WAIT_S
        return waited_s >= 0.9 * min(usual_s, limit_s)  # A timer may ring early.


def _stall_s(usual_s: float | None) -> float:
    return UNLEARNED_STALL_S if usual_s is None else max(LEAST_STALL_S, STALL_FACTOR * usual_s)


def patience_s(stall_s: float, left_s: float, behind_s: float, gap_s: float) -> float:
    """How long a stream that has begun may be silent, where somebody could take over and is to have `behind_s` of the
    `left_s` that its caller had left at the last piece.

    Its own longest gap so far, `gap_s`, says how it flows: near the deadline no usual pause ends it. Nothing left is
    nothing to keep.
    """
    return min(stall_s, max(left_s - behind_s, STALL_FACTOR * gap_s)) if left_s > 0 else stall_s


class Standings:
    """All of one gateway process."""

    def __init__(self, promoted: Callable[[str], events.Promotion | None]) -> None:
        """`promoted` says by which student a task is served now: the breaker's metric is of that one."""
        self._promoted = promoted
        self._of: dict[tuple[str, inference.Backend, int], Standing] = {}
        self._hedges: dict[str, HedgeBudget] = {}

    def of(self, task: Task, backend: inference.Backend, student_version: int) -> Standing:
        """Made where there is none yet."""
        key = task.name, backend, student_version if backend == inference.BACKEND_STUDENT else 0
        return self._of.get(key) or self._made(*key)

    def least_s(self, task: Task, plan: Plan, priority: inference.Priority) -> float:
        """The time that a call of that priority must have, as `shedding` says; 0 where that is not known."""
        now_s, part, least_s = time.monotonic(), shedding.chance(priority), inf
        for step in plan.steps:
            answers_s = self.of(task, step.backend, plan.student_version).answers.quantile(part, now_s)
            if answers_s is None:
                return 0.0
            least_s = min(least_s, answers_s)
        return least_s

    def hedges(self, task: Task) -> HedgeBudget:
        """The task's budget."""
        return self._hedges.get(task.name) or self._hedges.setdefault(task.name, HedgeBudget())

    def _made(self, task: str, backend: inference.Backend, student_version: int) -> Standing:
        """A new one. Prometheus reads the breaker when it asks: that a pause is over, no call need tell."""
        telemetry.BREAKER.labels(task, NAMES[backend]).set_function(partial(self._breaker_told, task, backend))
        return self._of.setdefault((task, backend, student_version), Standing())

    def _breaker_told(self, task: str, backend: inference.Backend) -> State:
        """From the thread that serves the metrics."""
        promotion = self._promoted(task) if backend == inference.BACKEND_STUDENT else None
        standing = self._of.get((task, backend, promotion.student_version if promotion else 0))
        return standing.breaker.told(time.monotonic()) if standing else State.CLOSED


def said_of(task: Task, backend: inference.Backend) -> Teacher | Student:
    """What the task's file says of a backend."""
    return task.teacher if backend == inference.BACKEND_TEACHER else task.student


def tell(task: Task, backend: inference.Backend, standing: Standing, why: str = "") -> None:
    """The log, where the breaker has opened or closed. `why`: the failure's kind."""
    state, name = standing.breaker.state, NAMES[backend]
    if state is State.OPEN and not standing.is_left_alone:
        telemetry.log.warning("a backend fails too often: it is left alone", task=task.name, backend=name, reason=why)
    elif state is State.CLOSED and standing.is_left_alone:
        telemetry.log.info("a backend answers again", task=task.name, backend=name)
    standing.is_left_alone = state is not State.CLOSED
