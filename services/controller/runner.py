"""Carries runs on, one step after the other, starts those that are due, and keeps Triton serving what is promoted.

A fault in one run ends that run, never the controller: the way back to the teacher goes through it.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from protos import events_pb2 as events
from services.controller import reports
from services.controller.actions import Actions
from services.controller.cycle import ENDED, Facts, Step, decided_since, lacking, may_be_due, next_step, to_carry_on
from services.controller.deciders import CONTROLLER
from services.controller.desk import MAX_RECORDED_CHARACTERS, Desk
from services.controller.errors import Refused
from services.controller.state import State
from services.controller.takeover import entered
from services.errors import Overloaded
from services.tasks import Task
from services.telemetry import RUNS

log = structlog.stdlib.get_logger("tutelage")

EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Runner:
    """The loop around the cycle."""

    def __init__(
        self, tasks: Mapping[str, Task], state: State, desk: Desk, actions: Actions, runs_at_once: int
    ) -> None:
        self._tasks = tasks
        self._state = state
        self._desk = desk
        self._actions = actions
        self._runs_at_once = runs_at_once
        self._going: dict[str, asyncio.Task[None]] = {}

    async def go_on(self, every_s: float) -> None:
        """Look every so often, and when something changed, until cancelled; then the runs under way are stopped."""
        try:
            while True:
                self._desk.changed.clear()
                await self.look()
                try:
                    await asyncio.wait_for(self._desk.changed.wait(), every_s)
                except TimeoutError:
                    continue
        finally:
            for task in self._going.values():
                task.cancel()
            await asyncio.gather(*self._going.values(), return_exceptions=True)

    async def look(self) -> None:
        """Take up what waits, start what is due, mend what Triton lost."""
        self._take_up()
        for name, task in self._tasks.items():
            await _outlived(self._start_if_due(task))
            await _outlived(self._tend(name))

    async def finished(self) -> None:
        """Carry every run to its end."""
        self._take_up()
        while self._going:
            await asyncio.gather(*self._going.values())
            self._take_up()

    def _take_up(self) -> None:
        for run_id, task in list(self._going.items()):
            if task.done():
                del self._going[run_id]
                task.result()  # what not even a failed run could be made of stops the controller
        for run in to_carry_on(self._state.runs(), self._going.keys(), self._runs_at_once):
            self._going[run.id] = asyncio.create_task(self._carry_on(run))

    async def _carry_on(self, run: events.Run) -> None:
        while run.state not in ENDED:
            outcome: events.Run | BaseException
            [outcome] = await asyncio.gather(self._patiently(run.id, ""), return_exceptions=True)
            run = outcome if isinstance(outcome, events.Run) else await self._ended_by(run, outcome)
        RUNS.labels(run.task, _result(run)).inc()
        log.info("run ended", run=run.id, task=run.task, promoted=run.promoted, reason=run.reason)
        self._desk.changed.set()

    async def _ended_by(self, run: events.Run, error: BaseException) -> events.Run:
        """The run as FAILED."""
        if not isinstance(error, Exception):
            raise error
        known = isinstance(error, Refused)
        log.error("run failed", run=run.id, reason=str(error), exc_info=None if known else error)
        return await self._patiently(run.id, str(error) if known else f"{type(error).__name__}: {error}")

    async def _patiently(self, run_id: str, failure: str) -> events.Run:
        """One step; again while an outside system is away, for as long as it takes."""
        patience = AsyncRetrying(
            retry=retry_if_exception_type(Overloaded), wait=wait_exponential(max=15), before_sleep=_waiting
        )
        return await patience(self._step, run_id, failure)

    async def _step(self, run_id: str, failure: str) -> events.Run:
        """What comes next for a run; returns it as recorded."""
        run = events.Run()
        run.CopyFrom(self._state.known_run(run_id))
        facts = Facts(failure=failure) if failure else await self._facts(run)
        step = next_step(run, facts)
        if run.state != step.value:
            self._tell(run, step, facts)
            run = await self._desk.advance(run, step)
        match step:
            case Step.SNAPSHOT:
                await asyncio.to_thread(self._actions.snapshot, run)
            case Step.TRAINING:
                await self._actions.train(run, self._state.runs(run.task))
            case Step.LOADING:
                await self._load_and_promote(run, facts)
            case _:
                pass  # to be recorded is all of it
        return run

    async def _facts(self, run: events.Run) -> Facts:
        return await asyncio.to_thread(self._actions.facts, run, self._state.promotion(run.task))

    def _tell(self, run: events.Run, step: Step, facts: Facts) -> None:
        """Fill in what the beginning of a step reveals."""
        if step is Step.FAILED:
            run.reason = facts.failure[:MAX_RECORDED_CHARACTERS]
        if step is Step.JUDGING and facts.verdict and (report := self._actions.report(run)):
            run.report = reports.text(report)
            run.report_path = self._actions.report_path(run)
            run.config = self._actions.resolved_config(run)
            run.reason = facts.verdict.reason
        if step is Step.DONE:
            run.promoted = self._state.promotion(run.task).run_id == run.id

    async def _load_and_promote(self, run: events.Run, facts: Facts) -> None:
        await asyncio.to_thread(self._actions.load, run, self._state.promotion(run.task))
        async with self._desk.deciding:
            current = self._state.promotion(run.task)
            if facts.verdict and not decided_since(run, current):
                policy = entered(self._tasks[run.task], current, facts.verdict.policy)
                await self._desk.promote(current, policy, run, _begun(facts.verdict.reason, policy), CONTROLLER)

    async def _start_if_due(self, task: Task) -> None:
        runs = self._state.runs(task.name)
        if not may_be_due(task, runs):
            return  # without asking ClickHouse
        since = self._actions.latest_snapshot_at(runs[-1]) if runs else EPOCH
        new = await asyncio.to_thread(self._actions.store.new_candidates, task.name, since)
        if new < task.sampling.run_at_candidates:
            return
        if why := lacking(task, await asyncio.to_thread(self._actions.store.counts, task.name)):
            log.warning("a run is due, but", task=task.name, new_candidates=new, lacking=why)
            return
        await self._desk.start(task, {}, self._actions.snapshots(task.name), self._actions.versions(task.name))
        self._take_up()

    async def _tend(self, task: str) -> None:
        promotion = self._state.promotion(task)
        if promotion.student_version:
            made = {run.student_version: run for run in self._state.runs(task)}
            await asyncio.to_thread(self._actions.tend, promotion, made.get(promotion.student_version))


async def _outlived(look: Coroutine[Any, Any, None]) -> None:
    """A look that fails is made again at the next turn: there is no event to lose in it."""
    error: BaseException | None
    [error] = await asyncio.gather(look, return_exceptions=True)
    if isinstance(error, Exception):
        known = isinstance(error, Overloaded | Refused)
        log.warning("will look again", reason=str(error), exc_info=None if known else error)


def _begun(reason: str, policy: events.Policy) -> str:
    """The verdict's reason, and that the student is asked unseen first."""
    unseen = policy.kind == events.POLICY_KIND_SHADOW
    return f"{reason}; by the task's ramp it is asked unseen first" if unseen else reason


def _result(run: events.Run) -> str:
    if run.state == events.RUN_STATE_FAILED:
        return "failed"
    return "promoted" if run.promoted else "not promoted"


def _waiting(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    log.warning("waiting", reason=str(error), attempt=attempt.attempt_number)
