"""Looks at every ramp every few seconds, and records what it decides.

It remembers nothing: where a ramp stands follows from the promotions, what is known of it from ClickHouse. While that
is away, or has not got the latest promotion yet, everything stays as it is. What a person decided it leaves alone,
unless that is to ask the student unseen: then the ramp begins, or begins again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from protos import events_pb2 as events
from services.controller import evidence, history
from services.controller.desk import MAX_RECORDED_CHARACTERS, Desk
from services.controller.evidence import Aim
from services.controller.pairs import LONGEST_GUARD, Observed, Sought
from services.controller.ramp import Claim, Climb, Decision, Move, decide
from services.controller.state import State
from services.controller.takeover import CONTROLLER, climbing, succeeded
from services.controller.verdict import judge
from services.controller.worth import Pair
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
        self, tasks: Mapping[str, Task], state: State, desk: Desk, observed: Observed, now: Callable[[], datetime]
    ) -> None:
        self._tasks = tasks
        self._state = state
        self._desk = desk
        self._observed = observed
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
        return Aim(task, task.ramp, verdict.policy) if verdict.promote else None

    def _seen(self, aim: Aim, current: events.Promotion) -> Seen | None:
        """What is known; None while ClickHouse lacks the latest promotion, or where that is not ours to change."""
        stored = self._observed.promotions(aim.task.name)
        if current.id not in {one.id for one in stored}:
            return None
        at = history.decided_at(current)
        reign = history.reign([one for one in stored if history.decided_at(one) <= at])
        if not climbing(reign):
            return None
        found = [(kind, self._pairs(aim, current, reign, kind, named)) for kind, named in self._kinds(aim, reign)]
        climbs = [evidence.climb(aim, kind, history.standing(reign, kind), pairs) for kind, pairs in found]
        since = max(at, self._now() - LONGEST_GUARD)
        calls = self._observed.calls(aim.task.name, current.student_version, since, aim.p95_ms, aim.p99_ms)
        said = self._observed.complaints(aim.task.name, since)
        return climbs, evidence.guards(aim, [one for _, pairs in found for one in pairs], calls, said)

    def _kinds(self, aim: Aim, reign: Sequence[events.Promotion]) -> list[tuple[str, tuple[str, ...]]]:
        """The kinds that climb by themselves, each with its name; "" are the others, with those names that they are
        not. They are those of the traffic before the student came, and stay so until the next one."""
        if not aim.ramp.by_kind:
            return [("", ())]
        began = history.decided_at(reign[0])
        kinds, others = self._observed.kinds(aim.task.name, began, aim.ramp.least_share)
        return [*((kind, (kind,)) for kind in kinds), *([("", kinds)] if others else [])]

    def _pairs(
        self, aim: Aim, current: events.Promotion, reign: Sequence[events.Promotion], kind: str, named: tuple[str, ...]
    ) -> list[Pair]:
        since = history.standing(reign, kind).since
        version, per_group = current.student_version, aim.ramp.per_group
        return self._observed.pairs(Sought(aim.task.name, version, since, named, not kind, per_group))

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
        await asyncio.to_thread(self._observed.note, current, reason[:MAX_RECORDED_CHARACTERS], at)
        self._noted[current.task] = (current.id, at)
