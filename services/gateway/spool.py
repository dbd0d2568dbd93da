"""The spool: what was answered is on this disk before the caller hears it, and leaves it only when Kafka has it.

One write serves all calls of an event loop's turn. A thread (`spool_drain`) brings the files (`spool_segments`) to
Kafka. An outage of Kafka costs disk, never an exchange; a full or failing disk refuses calls, loudly, before a backend
is asked.
"""

import asyncio
import os
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

import uuid_utils

from protos import events_pb2 as events
from services import telemetry
from services.gateway.sources import Sources
from services.gateway.spool_disk import Reserve, locked
from services.gateway.spool_drain import Drain
from services.gateway.spool_segments import Segments, pack
from services.kafka import Producer
from services.topics import EXCHANGES, Record, encode

KEEP_S: Final = 2.0
"""How often a file that Kafka has whole is left, so that a quiet gateway keeps no text; one costs less than a call."""
LINGER_MS: Final = 50
"""How long its producer lets a batch wait for more: no caller waits, and a broker takes half as long for a call."""
RESERVE_BYTES: Final = 32 * 1024 * 1024
RESERVE_SHARE: Final = 8  # An eighth of the limit is kept for calls that were admitted before it was reached.
SYNC_EVERY_S: Final = 0.2
CLOSE_WITHIN_S: Final = 10.0
SAY_EVERY_S: Final = 60.0
"""How often the log tells at most whether calls are refused: at the limit that changes with every call."""


class SpoolFull(Exception):  # noqa: N818 - it names a state
    """The spool takes no more calls now; the message says why and what changes it."""

    retry_after_s = 5.0


class Fsync(StrEnum):
    """When the disk itself must hold a record. A killed process loses nothing with any of them; a power cut may."""

    OFF = "off"
    """When the kernel likes."""
    INTERVAL = "interval"
    """Five times a second, behind the reply."""
    ALWAYS = "always"
    """Before the reply; calls that wait share one fsync."""


class Spool:
    """Durable appends from one event loop. Made by `open`."""

    def __init__(self, directory: Path, producer: Producer, max_bytes: int, fsync: Fsync) -> None:
        self.source = str(uuid_utils.uuid7())
        self._lock = locked(directory)
        self._directory = directory
        self._limit_bytes = max_bytes - max_bytes // RESERVE_SHARE
        self._fsync = fsync
        self._sequence = self._written_sequence = 0
        self._turn: list[bytes] = []
        self._said_refusing, self._said_s = False, -SAY_EVERY_S
        self._waiting: list[asyncio.Future[None]] = []
        self._unsynced: list[asyncio.Future[None]] = []
        self._syncing: asyncio.Task[None] | None = None
        self._segments = Segments(directory)
        self._written_bytes = self._segments.left_bytes
        self._leaving: asyncio.TimerHandle | None = None
        self._reserve = Reserve(directory, min(RESERVE_BYTES, max_bytes // RESERVE_SHARE))
        sources = Sources(self.source, lambda: self._written_sequence, directory, producer)
        sync_every_s = SYNC_EVERY_S if fsync is Fsync.INTERVAL else None
        self._drain = Drain(self._segments.row, sources, directory / "refused", self._reserve, sync_every_s)

    @classmethod
    def open(cls, directory: Path, producer: Producer, max_bytes: int, fsync: Fsync) -> "Spool":
        """Take the directory and begin to send what an earlier process left in it. Raises SpoolInUse, OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = cls(directory, producer, max_bytes, fsync)
        with suppress(OSError):  # Without room no call is admitted, but what is there must still reach Kafka.
            spool._reserve.hold()
        spool._drain.start()
        telemetry.SPOOL_BYTES.set_function(lambda: float(spool.waiting_bytes))
        telemetry.SPOOL_STALLED.set_function(spool._drain.stalled_s)
        telemetry.SPOOL_FAILED.set_function(lambda: float(bool(spool._refusal())))
        return spool

    @property
    def waiting_bytes(self) -> int:
        """Bytes on disk that Kafka has not acknowledged."""
        return self._written_bytes - self._drain.acked_bytes

    def admit(self) -> None:
        """Raise SpoolFull unless there is room for another call. Ask before a backend is asked."""
        refusal = self._refusal()
        if bool(refusal) is not self._said_refusing:
            self._say(refusal)
        if refusal:
            raise SpoolFull(refusal)

    def _say(self, refusal: str) -> None:
        """Log what has changed, or leave it to a later call: what stays so is told in the end."""
        if (now_s := time.monotonic()) - self._said_s < SAY_EVERY_S:
            return
        self._said_refusing, self._said_s = bool(refusal), now_s
        telemetry.log.warning(
            "calls are refused" if refusal else "calls are taken again", reason=refusal or "there is room"
        )

    def _refusal(self) -> str:
        if self.waiting_bytes >= self._limit_bytes:
            return f"the spool is full: {self.waiting_bytes} bytes wait for Kafka, {self._limit_bytes} may; try later"
        if not self._drain.alive():
            return "the spool's thread has ended; the gateway must be restarted"
        return self._reserve.refusal

    def append_exchange(self, exchange: events.Exchange) -> asyncio.Future[None]:
        """Give the exchange its source and sequence; done when it is on disk, SpoolFull if it can't be.

        Whoever waits may be cancelled: it is written all the same.
        """
        exchange.source, exchange.sequence = self.source, self._sequence + 1
        frame = pack(encode(EXCHANGES, exchange))
        self._sequence += 1
        return self._written(frame)

    def append(self, record: Record) -> asyncio.Future[None]:
        """Done when the record is on disk, SpoolFull if it can't be."""
        return self._written(pack(record))

    def _written(self, frame: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._turn:
            loop.call_soon(self._write_turn)
        self._turn.append(frame)
        self._waiting.append(loop.create_future())
        return self._waiting[-1]

    def _write_turn(self) -> None:
        """One write for every call of this turn of the loop; the calls' sequences are free again if it fails."""
        frames, self._turn = b"".join(self._turn), []
        waiting, self._waiting = self._waiting, []
        try:
            self._write(frames)
        except OSError as error:
            self._sequence = self._written_sequence
            self._fail(waiting, error)
            return
        self._written_sequence = self._sequence
        self._written_bytes += len(frames)
        self._drain.wake()
        if self._leaving is None:
            self._leave_later()
        if self._fsync is Fsync.ALWAYS:
            self._sync_then_resolve(waiting)
        else:
            _resolve(waiting)

    def _write(self, frames: bytes) -> None:
        try:
            self._segments.last().write(frames)
        except OSError as error:
            self._reserve.release(error)
            self._segments.seal()
            self._segments.last().write(frames)  # In the room that was held for it.

    def _leave_later(self) -> None:
        self._leaving = asyncio.get_running_loop().call_later(KEEP_S, self._leave)

    def _leave(self) -> None:
        self._leaving = None
        if self._segments.seal_settled():
            self._drain.wake()
        else:
            self._leave_later()

    def _fail(self, waiting: list[asyncio.Future[None]], error: OSError) -> None:
        self._reserve.release(error)
        for future in waiting:
            if not future.done():
                future.set_exception(SpoolFull(self._reserve.refusal))

    def _sync_then_resolve(self, waiting: list[asyncio.Future[None]]) -> None:
        self._unsynced += waiting
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._sync_turns())

    async def _sync_turns(self) -> None:
        """Turns that come while the disk is busy share the next fsync."""
        while self._unsynced:
            waiting, self._unsynced = self._unsynced, []
            try:
                await asyncio.to_thread(self._segments.sync)
            except OSError as error:
                self._fail(waiting, error)
            else:
                _resolve(waiting)

    async def close(self) -> None:
        """Send what is left for at most CLOSE_WITHIN_S; the rest stays on disk for the next start."""
        await asyncio.sleep(0)  # The turn that has begun is written.
        if self._syncing is not None:
            await self._syncing
        if self._leaving is not None:
            self._leaving.cancel()
        await asyncio.to_thread(self._drain.stop, CLOSE_WITHIN_S)
        for segment in self._segments.row:
            segment.remove() if segment.acked == segment.written else segment.close()
        for gauge in (telemetry.SPOOL_BYTES, telemetry.SPOOL_STALLED, telemetry.SPOOL_FAILED):
            gauge.set_function(lambda: 0.0)
        os.close(self._lock)


def _resolve(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
