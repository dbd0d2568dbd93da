"""The thread that brings the spool's segments to Kafka, in order, and deletes what Kafka has acknowledged."""

import os
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from services import telemetry
from services.errors import Overloaded
from services.gateway.sources import Place, Sources
from services.gateway.spool_cut import shortened
from services.gateway.spool_disk import Reserve
from services.gateway.spool_segments import Segment, pack
from services.topics import CUT_FROM, Record, decode

IN_FLIGHT_BYTES: Final = 16 * 1024 * 1024
IN_FLIGHT_RECORDS: Final = 20_000
TURN_S: Final = 0.02
"""What is written meanwhile goes along: a thread that woke for each call would take turns with the event loop."""
IDLE_WAIT_S: Final = 0.5
SAY_GOODBYE_S: Final = 2.0
PRIVATE: Final = partial(os.open, mode=0o600)
"""Opens a file that its owner alone may read."""


class _Sent(NamedTuple):
    """A record on its way to Kafka: the segment that holds it, the bytes that it takes there, its place in a source."""

    segment: Segment
    record: Record
    size: int
    place: Place | None


class Drain:
    """Sends what the segments hold. Memory is bounded by what is in flight; everything else waits on disk.

    `segments` is shared with the writer, who appends new ones at its right end and writes only to the last.
    """

    def __init__(
        self,
        segments: deque[Segment],
        sources: Sources,
        aside: Path,
        reserve: Reserve,
        sync_every_s: float | None,
    ) -> None:
        self._segments = segments
        self._left = [segment for segment in segments if segment.sealed]
        self._sources = sources
        self._producer = sources.producer  # Its acknowledgements come in the same poll.
        self._reserve = reserve
        self._aside = aside
        self._sync_every_s = sync_every_s
        self._synced_s = 0.0
        self._refused: deque[tuple[_Sent, str]] = deque()
        self._in_flight_bytes = 0
        self._in_flight_records = 0
        self._moved_s = 0.0
        self._written = threading.Event()
        self._stop_at_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="spool-drain", daemon=True)
        self.acked_bytes = 0

    def start(self) -> None:
        """Begin, with the oldest segment."""
        self.wake()
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new to send."""
        self._written.set()

    def stop(self, within_s: float) -> None:
        """Send what is there for at most `within_s`; return when the thread has ended."""
        self._stop_at_s = time.monotonic() + within_s
        self.wake()
        self._thread.join()

    def alive(self) -> bool:
        """Whether the thread still runs; it ends by itself only by a fault."""
        return self._thread.is_alive()

    def stalled_s(self) -> float:
        """How long Kafka has acknowledged nothing; 0 while nothing is under way."""
        return time.monotonic() - self._moved_s if self._in_flight_records else 0.0

    def _run(self) -> None:
        while not self._done():
            try:
                self._wait()
                self._drop_acknowledged()
                self._send()
                self._sync()
                self._sources.tell(self._left_is_sent())
                self._reserve.hold()
            except OSError as error:
                self._reserve.release(error)
        self._sources.end(SAY_GOODBYE_S)

    def _done(self) -> bool:
        if self._stop_at_s is None:
            return False
        return time.monotonic() >= self._stop_at_s or all(
            segment.acked == segment.written for segment in list(self._segments)
        )

    def _send(self) -> None:
        self._settle_refused()
        for segment in list(self._segments):
            sealed = segment.sealed  # Read before the records: what is written after the look is not a torn tail.
            if not self._send_from(segment) or not sealed:
                return
            if segment.sent < segment.written:
                self._put_torn_aside(segment)

    def _send_from(self, segment: Segment) -> bool:
        """Send until nothing whole is left (True) or Kafka takes no more for now (False)."""
        while self._room():
            before = segment.sent
            for record, size in segment.unsent():
                if not self._sent(segment, record, size):
                    return False
            if segment.sent == before:
                return True
        return False

    def _sent(self, segment: Segment, record: Record, size: int) -> bool:
        if not self._room():
            return False
        place = self._sources.sent(record)
        try:
            self._producer.send(record, partial(self._acked, _Sent(segment, record, size, place)))
        except Overloaded:
            self._sources.not_sent(place)
            return False
        if not self._in_flight_records:
            self._moved_s = time.monotonic()
        segment.sent += size
        self._in_flight_bytes += size
        self._in_flight_records += 1
        return True

    def _room(self) -> bool:
        return self._in_flight_bytes < IN_FLIGHT_BYTES and self._in_flight_records < IN_FLIGHT_RECORDS

    def _acked(self, sent: _Sent, refused: str) -> None:
        if refused:  # It stays in flight: what becomes of it is written to disk, and that is not for a callback.
            self._refused.append((sent, refused))
        else:
            self._settle(sent)

    def _settle(self, sent: _Sent, put_aside: bool = False) -> None:
        self._in_flight_bytes -= sent.size
        self._in_flight_records -= 1
        self._moved_s = time.monotonic()
        self._sources.acked(sent.place, put_aside)
        sent.segment.acked += sent.size
        self.acked_bytes += sent.size

    def _settle_refused(self) -> None:
        """Each is sent again in a shorter form, and the whole kept; what can't be shortened is only put aside."""
        while self._refused:
            sent, refused = self._refused[0]
            if shorter := shortened(sent.record):
                self._keep_whole(sent.record, refused)
                try:
                    self._producer.send(shorter, partial(self._acked, sent._replace(record=shorter)))
                except Overloaded:
                    return
            else:
                self._put_aside(f"{sent.segment.path.stem}.refused", pack(sent.record))
                telemetry.DEAD.labels(sent.record.topic).inc()
                telemetry.log.error(
                    "Kafka refuses a record for good: put aside", topic=sent.record.topic, reason=refused
                )
                self._settle(sent, put_aside=True)
            self._refused.popleft()

    def _keep_whole(self, record: Record, refused: str) -> None:
        """The first form that is refused is the whole; those after it are shortened already."""
        exchange = decode(record)
        if CUT_FROM not in exchange.request.metadata:
            name = f"{exchange.source}.{exchange.sequence}.{exchange.id}.whole"
            self._put_aside(name, pack(record), "wb")
            telemetry.log.warning(
                "too large for Kafka: cut, the whole is kept", bytes=len(record.value), file=name, reason=refused
            )

    def _put_torn_aside(self, segment: Segment) -> None:
        size = segment.written - segment.sent
        telemetry.log.error("a spool file ends in no whole record: put aside", file=segment.path.name, bytes=size)
        for piece in segment.rest():
            self._put_aside(f"{segment.path.stem}.torn", piece)
        segment.sent += size
        segment.acked += size
        self.acked_bytes += size

    def _put_aside(self, name: str, data: bytes, mode: str = "ab") -> None:
        self._aside.mkdir(mode=0o700, exist_ok=True)
        with open(self._aside / name, mode, opener=PRIVATE) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # Its segment is deleted next.

    def _drop_acknowledged(self) -> None:
        while self._segments and self._segments[0].sealed and self._segments[0].acked == self._segments[0].written:
            self._sources.note()
            self._segments[0].remove()
            self._segments.popleft()

    def _left_is_sent(self) -> bool:
        self._left = [segment for segment in self._left if segment.acked < segment.written]
        return not self._left

    def _sync(self) -> None:
        if self._sync_every_s is not None and time.monotonic() - self._synced_s >= self._sync_every_s:
            for segment in list(self._segments):
                segment.sync()
            self._synced_s = time.monotonic()

    def _wait(self) -> None:
        if self._in_flight_records:
            time.sleep(TURN_S)
            self._producer.poll(0)
            return
        self._producer.poll(0)
        self._written.wait(IDLE_WAIT_S if self._sync_every_s is None else self._sync_every_s)
        self._written.clear()
