"""Where decisions are recorded: runs started and advanced, promotions, rollbacks. Each returns once Kafka has it."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

import structlog

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import keys, promotions
from services.controller.cycle import Numbers, Step, advanced, begin, next_number
from services.controller.promotions import Decision
from services.controller.state import Event, State
from services.tasks import Task

log = structlog.stdlib.get_logger("tutelage")

MAX_RECORDED_CHARACTERS: Final = 4_000


class Desk:
    """The one place that writes events. Every method raises Overloaded while Kafka does not acknowledge."""

    def __init__(self, state: State, new_id: Callable[[], str], now: Callable[[], datetime]) -> None:
        self._state = state
        self._new_id = new_id
        self._now = now
        self._numbering = asyncio.Lock()
        self._given: dict[str, list[int]] = {}
        """By task, numbers of snapshots that are being made for no run."""
        # A thread of its own: a rollback must not wait for those that load models or ask ClickHouse.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="events")
        self.deciding = asyncio.Lock()
        """Held between reading what serves a task and recording what takes its place."""
        self.changed = asyncio.Event()
        """Set when there is something new for the runner to look at."""

    async def start(
        self, task: Task, overrides: Mapping[str, Any], snapshots: list[int], versions: list[int], snapshot: int = 0
    ) -> events.Run:
        """Record a new run. `snapshots` and `versions` are the numbers taken on disk; `snapshot` 0 takes a new one."""
        async with self._numbering:
            runs = self._state.runs(task.name)
            snapshot = snapshot or self._next_snapshot(task, snapshots)
            version = next_number(versions + [run.student_version for run in runs])
            run = begin(task, overrides, Numbers(self._new_id(), snapshot, version), self._now())
            await self._write(run)
        log.info("run started", run=run.id, task=run.task, student_version=version)
        self.changed.set()
        return run

    async def number(self, task: Task, snapshots: list[int]) -> int:
        """The number of a snapshot that no run takes; `snapshots` are those on disk."""
        async with self._numbering:
            taken = self._next_snapshot(task, snapshots)
            self._given.setdefault(task.name, []).append(taken)
        return taken

    def _next_snapshot(self, task: Task, snapshots: list[int]) -> int:
        runs = [run.snapshot for run in self._state.runs(task.name)]
        return next_number([*snapshots, *runs, *self._given.get(task.name, [])])

    async def advance(self, run: events.Run, step: Step) -> events.Run:
        """Record that the run has come to `step`."""
        later = advanced(run, step, self._now())
        await self._write(later)
        log.info("run", run=run.id, task=run.task, state=events.RunState.Name(later.state))
        return later

    async def mark(self, run_id: str, erasure_id: str) -> None:
        """Record that a run was trained on rows of a customer who was erased since."""
        run = events.Run()
        run.CopyFrom(self._state.known_run(run_id))
        run.erasures.append(erasure_id)
        run.updated_at.FromDatetime(self._now())
        await self._write(run)

    async def promote(
        self, current: events.Promotion, policy: events.Policy, run: events.Run | None, reason: str, decided_by: str
    ) -> events.Promotion:
        """Record a promotion. Its student must be loaded already; call it with `deciding` held."""
        return await self._record(promotions.promote(current, policy, run, self._decision(reason, decided_by)))

    async def roll_back(self, current: events.Promotion, reason: str, decided_by: str) -> events.Promotion:
        """Record the way back from `current`; call it with `deciding` held."""
        run_ids = {run.student_version: run.id for run in self._state.runs(current.task)}
        return await self._record(promotions.roll_back(current, run_ids, self._decision(reason, decided_by)))

    async def create_key(
        self, key_id: str, request: control.CreateKeyRequest, secret: str, decided_by: str
    ) -> events.ApiKey:
        """Record a new key, of which no more than the digest of its secret is kept."""
        decision = Decision(key_id, request.reason[:MAX_RECORDED_CHARACTERS], decided_by, self._now())
        await self._write(key := keys.made(request, secret, decision))
        log.info("key made", key=key.id, name=key.name, by=decided_by)
        return key

    async def revoke_key(self, key: events.ApiKey, reason: str, decided_by: str) -> events.ApiKey:
        """Record that a key is good no more."""
        await self._write(later := keys.revoked(key, self._decision(reason, decided_by)))
        log.info("key taken back", key=key.id, name=key.name, by=decided_by, reason=reason)
        return later

    async def _record(self, made: events.Promotion) -> events.Promotion:
        await self._write(made)
        kind = events.PolicyKind.Name(made.policy.kind)
        log.info("serving", task=made.task, policy=kind, student_version=made.student_version, reason=made.reason)
        self.changed.set()
        return made

    async def _write(self, event: Event) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._state.write, event)

    def _decision(self, reason: str, decided_by: str) -> Decision:
        return Decision(self._new_id(), reason[:MAX_RECORDED_CHARACTERS], decided_by, self._now())
