"""poll -> read -> ask the gateway -> commit."""

import asyncio
import time
from functools import partial
from typing import Final

from services import telemetry
from services.errors import BadEvent, Overloaded
from services.intake.asking import Answering, Asking
from services.intake.progress import Progress
from services.intake.reading import read
from services.intake.settings import IntakeSettings
from services.kafka import Consumer, Producer
from services.topics import Record, dead_letter

SERVICE: Final = "intake"
POLL_S: Final = 0.1
COMMIT_EVERY_S: Final = 0.5


class Pipeline:
    """One member of the intake's group. Every request in hand is a task of the event loop."""

    def __init__(self, settings: IntakeSettings, consumer: Consumer, producer: Producer, gateway: Answering) -> None:
        self._settings = settings
        self._consumer = consumer
        self._producer = producer
        self._asking = Asking(gateway, settings.intake_deadline_attempts)
        self._progress = Progress()
        self._running: set[asyncio.Task[None]] = set()
        self._full = False
        self._commit_at_s = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; then wait a little for what is in hand, commit and leave the group.

        Raises what is neither Overloaded nor BadEvent, with that request uncommitted.
        """
        try:
            while not stopping.is_set():
                await self._read()
                await self._settle()
            await self._drain()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.to_thread(self._consumer.close)

    async def _read(self) -> None:
        """Take as many as there is room for; polling goes on without room, or the group takes us for dead."""
        room = self._settings.intake_concurrency - len(self._running)
        if (room < 1) != self._full:
            self._full = room < 1
            (self._consumer.pause if self._full else self._consumer.resume)()
        records = await asyncio.to_thread(self._consumer.poll, max(room, 1), POLL_S)
        self._progress.keep(self._consumer.owned())
        for record in records:
            if self._progress.take(record):
                telemetry.CONSUMED.labels(record.topic).inc()
                self._running.add(asyncio.create_task(self._handle(record)))

    async def _settle(self) -> None:
        """Raise what went wrong, let go of what is done, commit at intervals."""
        self._producer.poll(0)
        done = {task for task in self._running if task.done()}
        self._running -= done
        for task in done:
            task.result()
        if time.monotonic() >= self._commit_at_s:
            await self._commit()
            self._commit_at_s = time.monotonic() + COMMIT_EVERY_S

    async def _commit(self) -> None:
        if records := self._progress.committable():
            try:
                await asyncio.to_thread(self._consumer.commit, records)
            except Overloaded as why:
                telemetry.log.warning("not committed as yet", reason=str(why))
            else:
                self._progress.committed(records)

    async def _drain(self) -> None:
        until_s = time.monotonic() + self._settings.intake_grace_s
        while self._running and time.monotonic() < until_s:
            await asyncio.wait(self._running, timeout=POLL_S)
            await self._settle()
        await self._commit()

    async def _handle(self, record: Record) -> None:
        """One request to its end: answered, or a dead letter."""
        try:
            request = read(record, self._settings.intake_max_request_bytes)
            await self._asking.until_answered(request)
        except BadEvent as bad:
            telemetry.DEAD.labels(record.topic).inc()
            telemetry.log.warning("dead letter", topic=record.topic, offset=record.offset, reason=bad.reason)
            await self._asking.until_taken(partial(self._bury, record, bad.reason))
        self._progress.answer(record)

    async def _bury(self, record: Record, reason: str) -> None:
        """Return when Kafka has the dead letter."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._producer.bury(dead_letter(record, reason, SERVICE), answer.set_result)  # `_settle` polls for the answer.
        await answer
