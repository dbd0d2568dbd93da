"""Where decisions are recorded: runs started and advanced, promotions, rollbacks. Each returns once Kafka has it.

But for what takes calls back from a student: that is on this disk and told to the watching gateways first, and brought
to Kafka however long that takes, also by the next controller on this disk.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import keys, promotions, spending
from services.controller.cycle import Numbers, Step, advanced, begin, next_number
from services.controller.errors import Refused
from services.controller.outbox import Outbox
from services.controller.promotions import Decision
from services.controller.state import Event, State
from services.errors import Overloaded
from services.tasks import Task

log = structlog.stdlib.get_logger("tutelage")

MAX_RECORDED_CHARACTERS: Final = 4_000
ACK_S: Final = 2.0
"""How long whoever takes calls back waits for Kafka: in the ordinary case the topic has it when he hears of it."""
SETTLE_S: Final = 1.0
"""How long the one thread that writes waits for what is overdue, before it is another event's turn."""


class Desk:
    """The one place that writes events. Every method but `roll_back` raises Overloaded while Kafka is away."""

    def __init__(self, state: State, new_id: Callable[[], str], now: Callable[[], datetime], outbox: Outbox) -> None:
        self._state = state
        self._new_id = new_id
        self._now = now
        self._outbox = outbox
        self._delivering: set[asyncio.Task[None]] = set()
        self._numbering = asyncio.Lock()
        self._changing_keys = asyncio.Lock()
        self._leaving: set[str] = set()
        """Keys that are or were being taken back, also where Kafka has not acknowledged it yet."""
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
        """Record a promotion. Its student must be loaded already; call it with `deciding` held.

        One that takes calls back is in effect before Kafka has it, as a rollback is.
        """
        made = promotions.promote(current, policy, run, self._decision(reason, decided_by, current))
        return await (self._take_back(made) if promotions.takes_back(made) else self._record(made))

    async def set_back(
        self, current: events.Promotion, policy: events.Policy, run: events.Run | None, reason: str, decided_by: str
    ) -> events.Promotion:
        """Give the student a smaller part of the calls, whatever Kafka does; call it with `deciding` held."""
        decision = self._decision(reason, decided_by, current)
        return await self._take_back(promotions.set_back(current, policy, run, decision))

    async def roll_back(self, current: events.Promotion, reason: str, decided_by: str) -> events.Promotion:
        """Go back from `current`, whatever Kafka does; call it with `deciding` held."""
        run_ids = {run.student_version: run.id for run in self._state.runs(current.task)}
        decision = self._decision(reason, decided_by, current)
        return await self._take_back(promotions.roll_back(current, run_ids, decision))

    async def adjust(
        self, current: events.Promotion, policy: events.Policy, reason: str, decided_by: str, *, set_back: bool
    ) -> events.Promotion:
        """Serve by another policy with the same student; call it with `deciding` held.

        With `set_back`, as fewer calls get the student's answer, that is in effect before Kafka has it.
        """
        made = promotions.adjusted(current, policy, self._decision(reason, decided_by, current))
        return await (self._take_back(made) if set_back else self._record(made))

    async def resume(self) -> None:
        """Bring to Kafka what an earlier controller could not. Call it once, when the state is rebuilt."""
        for made in self._outbox.waiting():
            if promotions.follows(made, self._state.promotion(made.task)):
                self._state.foresee(made)
                self._deliver(made)
            else:
                self._outbox.drop(made)

    async def _take_back(self, made: events.Promotion) -> events.Promotion:
        try:
            await asyncio.to_thread(self._outbox.keep, made)
        except OSError:  # A full disk may not stand in the way back either.
            log.exception("a restart before Kafka has this decision forgets it", task=made.task)
        self._state.foresee(made)
        await asyncio.wait({self._deliver(made)}, timeout=ACK_S)
        return self._told(made)

    def _deliver(self, made: events.Promotion) -> "asyncio.Task[None]":
        delivering = asyncio.create_task(self._bring(made))
        self._delivering.add(delivering)
        delivering.add_done_callback(self._delivering.discard)
        return delivering

    async def _bring(self, made: events.Promotion) -> None:
        """To Kafka, however long it takes."""
        patience = AsyncRetrying(retry=retry_if_exception_type(Overloaded), wait=wait_exponential(max=5))
        sent: list[str] = await patience(self._on_writer, self._state.send, made)
        while not await self._on_writer(self._state.settled, sent, SETTLE_S):
            log.warning("a decision is in effect that Kafka has not acknowledged", task=made.task, promotion=made.id)
        if sent[0]:
            log.error("Kafka refuses a decision that is in effect; it stays in the outbox", reason=sent[0])
        else:
            self._outbox.drop(made)

    async def create_key(
        self, key_id: str, request: control.CreateKeyRequest, secret: str, decided_by: str
    ) -> events.ApiKey:
        """Record a new key, of which no more than the digest of its secret is kept."""
        decision = self._decided(key_id, request.reason, decided_by)
        await self._write(key := keys.made(request, secret, decision))
        log.info("key made", key=key.id, name=key.name, by=decided_by)
        return key

    async def revoke_key(self, key: events.ApiKey, reason: str, decided_by: str) -> events.ApiKey:
        """Record that a key is good no more."""
        self._leaving.add(key.id)
        async with self._changing_keys:
            latest = self._state.known_key(key.id)
            await self._write(later := keys.revoked(latest, self._decided(self._new_id(), reason, decided_by)))
        log.info("key taken back", key=key.id, name=key.name, by=decided_by, reason=reason)
        return later

    async def credit_key(
        self, key_id: str, usd: Decimal, usages: list[events.KeyUsage], reason: str, decided_by: str
    ) -> events.ApiKey:
        """Record that so much is taken off what a key has spent today; one after the other, so that all count.

        Raises Refused where that is more than it has spent by `usages`, what gateways told; and where somebody takes
        the key back: what is written last counts, and would make it good again.
        """
        async with self._changing_keys:
            if key_id in self._leaving:
                raise Refused(f"key {key_id} is being taken back")
            key = self._state.known_key(key_id)
            decision = self._decided(self._new_id(), reason, decided_by)
            if why := spending.objection(key, usd, usages, decision.at.date()):
                raise Refused(why)
            await self._write(later := keys.credited(key, usd, decision))
        log.info("key credited", key=key.id, name=key.name, usd=f"{usd:f}", by=decided_by, reason=reason)
        return later

    def today(self) -> date:
        """The UTC day."""
        return self._now().date()

    async def _record(self, made: events.Promotion) -> events.Promotion:
        await self._write(made)
        return self._told(made)

    def _told(self, made: events.Promotion) -> events.Promotion:
        kind = events.PolicyKind.Name(made.policy.kind)
        log.info("serving", task=made.task, policy=kind, student_version=made.student_version, reason=made.reason)
        self.changed.set()
        return made

    async def _write(self, event: Event) -> None:
        await self._on_writer(self._state.write, event)

    async def _on_writer(self, act: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, act, *given)

    def _decision(self, reason: str, decided_by: str, current: events.Promotion) -> Decision:
        """Not before what it takes the place of, whatever the clock says: the later decision counts everywhere."""
        at = max(self._now(), current.decided_at.ToDatetime(UTC))
        return Decision(self._new_id(), reason[:MAX_RECORDED_CHARACTERS], decided_by, at)

    def _decided(self, made_id: str, reason: str, decided_by: str) -> Decision:
        return Decision(made_id, reason[:MAX_RECORDED_CHARACTERS], decided_by, self._now())
