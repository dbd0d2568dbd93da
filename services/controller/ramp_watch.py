"""Looks at every ramp every few seconds, and records what it decides.

It remembers nothing: where a ramp stands follows from the promotions, what is known of it from ClickHouse. While that
is away, or has not got the latest promotion yet, everything stays as it is. What a person decided it leaves alone,
unless that is to ask the student unseen: then the ramp begins, or begins again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

import structlog

from protos import events_pb2 as events
from services.controller import evidence, history
from services.controller.deciders import CONTROLLER
from services.controller.desk import MAX_RECORDED_CHARACTERS, Desk
from services.controller.evidence import Aim
from services.controller.pairs import LONGEST_GUARD, Observed, Sought
from services.controller.ramp import Claim, Climb, Decision, Move, decide
from services.controller.state import State
from services.controller.takeover import climbing, succeeded, way_on
from services.controller.verdict import judge
from services.errors import Overloaded
from services.tasks import Task
from training.contract import Report

log = structlog.stdlib.get_logger("tutelage")

NOTED_EVERY: Final = timedelta(hours=1)
"""How often it is written down why a ramp stays where it is."""
Seen = tuple[list[Climb], list[Claim]]


class RampWatch:
    """The loop around `ramp.decide`."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        state: State,
        desk: Desk,
        observe: Callable[[], Observed],
        now: Callable[[], datetime],
    ) -> None:
        self._tasks = tasks
        self._state = state
        self._desk = desk
        self._observe = observe
        self._now = now
        self._noted: dict[str, tuple[str, datetime]] = {}
        """By task: at which promotion, and when, a note was last written; after a restart one is written early."""

    async def go_on(self, every_s: float) -> None:
        """Look every so often, until cancelled."""
        while True:
            for task in self._tasks.values():
                await self._patiently(task)
            await asyncio.sleep(every_s)

    async def look(self, task: Task) -> Decision | None:
        """One look at a task's ramp: what was decided, None where there is nothing to decide. Raises Overloaded."""
        current = self._state.promotion(task.name)
        aim = self._aim(task, current)
        seen = await asyncio.to_thread(self._seen, aim, current) if aim else None
        if aim is None or seen is None:
            return None
        climbs, guards = seen
        decision = decide(aim.ramp, aim.way, climbs, guards, self._now())
        if decision.policy is None:
            await self._note(current, decision.reason)
        else:
            await self._record(current, decision, decision.policy)
        return decision

    async def _patiently(self, task: Task) -> None:
        """A look that fails is made again at the next turn: there is no event to lose in it."""
        error: BaseException | Decision | None
        [error] = await asyncio.gather(self.look(task), return_exceptions=True)
        if isinstance(error, Exception):
            known = isinstance(error, Overloaded)
            log.warning("ramp stays", task=task.name, reason=str(error), exc_info=None if known else error)

    def _aim(self, task: Task, current: events.Promotion) -> Aim | None:
        """What is climbed for; None where the report supports nothing, so that the student is compared alone."""
        run = self._state.run(current.run_id)
        if task.ramp is None or run is None or not run.report:
            return None
        verdict = judge(Report.model_validate_json(run.report), task)
        return Aim(task, task.ramp, way_on(current, verdict.policy)) if verdict.promote else None

    def _seen(self, aim: Aim, current: events.Promotion) -> Seen | None:
        """What is known; None while ClickHouse lacks the latest promotion, or where that is not ours to change."""
        with closing(self._observe()) as observed:
            return self._seen_by(observed, aim, current)

    def _seen_by(self, observed: Observed, aim: Aim, current: events.Promotion) -> Seen | None:
        stored = observed.promotions(aim.task.name)
        if current.id not in {one.id for one in stored}:
            return None
        at = history.decided_at(current)
        reign = history.reign([one for one in stored if history.decided_at(one) <= at])
        if not climbing(reign):
            return None
        climbs, pairs = [], []
        for kind, named in _kinds(observed, aim, reign):
            standing = history.standing(reign, kind)
            sought = Sought(aim.task.name, current.student_version, standing.since, named, not kind, aim.ramp.per_group)
            climbs.append(evidence.climb(aim, kind, standing, found := observed.pairs(sought)))
            pairs += found
        since = max(at, self._now() - LONGEST_GUARD)
        calls = observed.calls(aim.task.name, current.student_version, since, aim.p95_ms, aim.p99_ms)
        said = observed.complaints(aim.task.name, since)
        return climbs, evidence.guards(aim, pairs, calls, said)

    async def _record(self, current: events.Promotion, decision: Decision, policy: events.Policy) -> None:
        reason = f"ramp: {decision.reason}"
        run = None if policy.kind == events.POLICY_KIND_TEACHER_ONLY else self._state.known_run(current.run_id)
        async with self._desk.deciding:
            if self._state.promotion(current.task).id != current.id:
                return  # a person, or a run, was faster
            if decision.move is not Move.ROLL_BACK:
                await self._desk.promote(current, policy, run, reason, CONTROLLER)
            elif succeeded(current):
                await self._desk.roll_back(current, reason, CONTROLLER)
            else:
                await self._desk.set_back(current, policy, run, reason, CONTROLLER)

    async def _note(self, current: events.Promotion, reason: str) -> None:
        """Write down why it stays, once in a while."""
        at, noted = self._now(), self._noted.get(current.task)
        if noted and noted[0] == current.id and at - noted[1] < NOTED_EVERY:
            return
        log.info("ramp stays", task=current.task, reason=reason)
        await asyncio.to_thread(self._written, current, reason[:MAX_RECORDED_CHARACTERS], at)
        self._noted[current.task] = (current.id, at)

    def _written(self, current: events.Promotion, reason: str, at: datetime) -> None:
        with closing(self._observe()) as observed:
            observed.note(current, reason, at)


def _kinds(observed: Observed, aim: Aim, reign: Sequence[events.Promotion]) -> list[tuple[str, tuple[str, ...]]]:
    """The kinds that climb by themselves, each with its name; "" are the others, with those that they are not.

    They are those of the traffic before the student came, and stay so until the next one.
    """
    if not aim.ramp.by_kind:
        return [("", ())]
    kinds, others = observed.kinds(aim.task.name, history.decided_at(reign[0]), aim.ramp.least_share)
    return [*((kind, (kind,)) for kind in kinds), *([("", kinds)] if others else [])]
