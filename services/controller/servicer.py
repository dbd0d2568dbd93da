"""The service Control: what people ask of the controller and decide."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import grpc

from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from services.controller import checks, cycle
from services.controller.actions import Actions
from services.controller.answering import answered
from services.controller.checks import MAX_REASON_CHARACTERS, Rejected, invalid, known_task, required
from services.controller.cycle import ENDED, lacking, unlicensed
from services.controller.deciders import decider
from services.controller.desk import Desk
from services.controller.erasing import Asked, Erasing
from services.controller.errors import Refused
from services.controller.key_servicer import Keyring
from services.controller.progress import how_far
from services.controller.shelf_servicer import Shelf
from services.controller.state import State
from services.controller.verdict import judge, objection
from services.controller.watch_servicer import Watching
from services.tasks import Task
from services.topics import Record
from training.contract import Report

LATEST_RUNS: Final = 10
MAX_WAITING_RUNS: Final = 20


class Control(Shelf, Watching, Keyring, control_pb2_grpc.ControlServicer):
    """Every method: INVALID_ARGUMENT names the field, NOT_FOUND what is not there, UNAVAILABLE who is away."""

    def __init__(  # noqa: PLR0913
        self,
        tasks: Mapping[str, Task],
        state: State,
        actions: Actions,
        desk: Desk,
        erasing: Erasing,
        *,
        usage: Callable[[], Iterable[Record]],
    ) -> None:
        """`usage` reads all of topic `key-usage`."""
        super().__init__(tasks, actions, desk)
        self._state = state
        self._erasing = erasing
        self._usage = usage

    @answered
    async def Status(self, request: control.StatusRequest, _context: Any) -> control.StatusReply:
        asked = [known_task(self._tasks, request.task)] if request.task else list(self._tasks.values())
        return control.StatusReply(tasks=[await self._status(task) for task in sorted(asked, key=lambda t: t.name)])

    @answered
    async def StartRun(self, request: control.StartRunRequest, _context: Any) -> events.Run:
        task = known_task(self._tasks, request.task)
        overrides = checks.config(request.config) | checks.overrides(dict(request.overrides))
        if why := await self._actions.launcher.objection(cycle.config(task, overrides)):
            raise invalid("config", why[:MAX_REASON_CHARACTERS])
        waiting = sum(run.state not in ENDED for run in self._state.runs(task.name))
        if waiting >= MAX_WAITING_RUNS:
            raise Rejected(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{waiting} runs of {task.name} wait; let some end")
        if not request.snapshot and (
            why := lacking(task, await asyncio.to_thread(self._actions.store.counts, task.name))
        ):
            raise Refused(why)
        snapshots, versions = self._actions.snapshots(task.name), self._actions.versions(task.name)
        if request.snapshot and request.snapshot not in snapshots:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"snapshot: there is no {task.name}/{request.snapshot}")
        if request.snapshot and (why := unlicensed(task, self._counts(task, request.snapshot))):
            raise Refused(why)
        return await self._desk.start(task, overrides, snapshots, versions, request.snapshot)

    @answered
    async def GetRun(self, request: control.GetRunRequest, _context: Any) -> events.Run:
        if request.id:
            run, lacks = self._state.run(request.id), f"id: there is no run {request.id[:64]!r}"
        else:
            runs = self._state.runs(known_task(self._tasks, request.task).name)
            run, lacks = runs[-1] if runs else None, f"task: {request.task!r} has had no run yet: start one"
        if run is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, lacks)
        return await asyncio.to_thread(self._told, run)

    @answered
    async def Promote(self, request: control.PromoteRequest, context: Any) -> events.Promotion:
        task = known_task(self._tasks, request.task)
        decided_by = decider(request.decided_by, context.auth_context())
        checks.limited("override_reason", request.override_reason, MAX_REASON_CHARACTERS)
        asked = checks.policy(request.policy) if request.HasField("policy") else None
        if asked and asked.kind == events.POLICY_KIND_TEACHER_ONLY:
            return await self._decide(asked, None, task.name, f"teacher only, by {decided_by}", decided_by)
        run = self._finished_run(task, request.student_version)
        policy, reason = self._supported(task, run, asked, request.override_reason, decided_by)
        await asyncio.to_thread(self._actions.load, run, self._state.promotion(task.name))
        return await self._decide(policy, run, task.name, reason, decided_by)

    @answered
    async def Rollback(self, request: control.RollbackRequest, context: Any) -> events.Promotion:
        """Neither ClickHouse nor Triton may stand in the way back, nor Kafka: it is in effect before Kafka has it."""
        task = known_task(self._tasks, request.task)
        reason = required("reason", request.reason, MAX_REASON_CHARACTERS)
        decided_by = decider(request.decided_by, context.auth_context())
        async with self._desk.deciding:
            current = self._state.promotion(task.name)
            if current.policy.kind == events.POLICY_KIND_TEACHER_ONLY and not current.previous_student_version:
                raise Refused(f"task {task.name} is served by the teacher alone already: nothing to take back")
            return await self._desk.roll_back(current, reason, decided_by)

    @answered
    async def AddGolden(self, request: control.AddGoldenRequest, _context: Any) -> control.AddGoldenReply:
        task = known_task(self._tasks, request.task)
        rows = checks.golden_rows(task, list(request.examples), self._actions.now())
        await asyncio.to_thread(self._actions.store.add_golden, rows)
        return control.AddGoldenReply(added=len(rows))

    @answered
    async def Erase(self, request: control.EraseRequest, context: Any) -> control.ErasureReceipt:
        task = known_task(self._tasks, request.task).name if request.task else ""
        group_key = required("group_key", request.group_key)
        asked = Asked(group_key, task, decider(request.decided_by, context.auth_context()))
        return await (self._erasing.plan(asked) if request.dry_run else self._erasing.erase(asked))

    async def _decide(
        self, policy: events.Policy, run: events.Run | None, task: str, reason: str, decided_by: str
    ) -> events.Promotion:
        async with self._desk.deciding:
            return await self._desk.promote(self._state.promotion(task), policy, run, reason, decided_by)

    async def _status(self, task: Task) -> control.TaskStatus:
        counts = await asyncio.to_thread(self._actions.store.counts, task.name)
        return control.TaskStatus(
            task=task.name,
            promotion=self._state.promotion(task.name),
            train_candidates=counts.train,
            eval_candidates=counts.eval,
            golden_examples=counts.golden,
            run_threshold=task.sampling.run_at_candidates,
            runs=[_without_report(run) for run in self._state.runs(task.name)[: -LATEST_RUNS - 1 : -1]],
        )

    def _told(self, run: events.Run) -> events.Run:
        """The run; of one that trains its reason tells how far it is."""
        if run.state != events.RUN_STATE_TRAINING:
            return run
        told = events.Run()
        told.CopyFrom(run)
        told.reason = how_far(self._actions.output(run))
        return told

    def _finished_run(self, task: Task, version: int) -> events.Run:
        """The run that made a version; 0 asks for the latest that can be judged."""
        runs = self._state.runs(task.name)
        if version == 0:
            run = next((run for run in reversed(runs) if run.state in ENDED and run.report), None)
            if run is None:
                raise Refused(f"task {task.name} has no finished run with a report: start one")
            return run
        run = next((run for run in runs if run.student_version == version), None)
        if run is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"student_version: {task.name} has no version {version}")
        if run.state not in ENDED or not run.report:
            stage = events.RunState.Name(run.state)
            raise Refused(
                f"student_version: run {run.id} of version {version} is {stage}, without a report. {run.reason}"
            )
        return run

    def _supported(
        self, task: Task, run: events.Run, asked: events.Policy | None, override: str, decided_by: str
    ) -> tuple[events.Policy, str]:
        """The policy and the reason to record. Raises Refused with the figures where the report does not support it."""
        report = Report.model_validate_json(run.report)
        verdict = judge(report, task)
        if asked is None:
            if verdict.promote:
                return verdict.policy, verdict.reason
            if override:
                raise invalid(
                    "policy", f"is required with override_reason, as the report supports none: {verdict.reason}"
                )
            raise Refused(f"{verdict.reason}. Name a policy and an override_reason to promote it all the same")
        policy = _with_measured_threshold(asked, report)
        against = objection(report, task, policy)
        if not against:
            return policy, f"asked for by {decided_by}, and the report supports it: {verdict.reason}"
        if not override:
            raise Refused(f"the report does not support it: {against}. Give an override_reason to promote all the same")
        if policy.kind == events.POLICY_KIND_CASCADE and policy.min_confidence == 0:
            raise invalid("policy.min_confidence", "give one below 0, as -0.5: by the report's no answer is kept")
        return policy, f"overridden by {decided_by}: {override} (against: {against})"


def _with_measured_threshold(asked: events.Policy, report: Report) -> events.Policy:
    """A cascade without a min_confidence means the report's: 0 would keep nothing."""
    if asked.kind != events.POLICY_KIND_CASCADE or asked.min_confidence != 0:
        return asked
    return events.Policy(kind=asked.kind, min_confidence=report.threshold)


def _without_report(run: events.Run) -> events.Run:
    short = events.Run()
    short.CopyFrom(run)
    short.ClearField("report")
    return short
