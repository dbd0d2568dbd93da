"""The thread that brings the spool's segments to Kafka, in order, and deletes what Kafka has acknowledged."""

import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Final

from services import telemetry
from services.errors import Overloaded
from services.gateway.spool_disk import Reserve
from services.gateway.spool_segments import Segment, pack
from services.kafka import Producer
from services.topics import Record

IN_FLIGHT_BYTES: Final = 16 * 1024 * 1024
IN_FLIGHT_RECORDS: Final = 20_000
ACK_WAIT_S: Final = 0.02
IDLE_WAIT_S: Final = 0.5


class Drain:
    """Sends what the segments hold. Memory is bounded by what is in flight; everything else waits on disk.

    `segments` is shared with the writer, who appends new ones at its right end and writes only to the last.
    """

    def __init__(
        self,
        segments: deque[Segment],
        producer: Producer,
        aside: Path,
        reserve: Reserve,
        sync_every_s: float | None,
    ) -> None:
        self._segments = segments
        self._producer = producer
        self._reserve = reserve
        self._aside = aside
        self._sync_every_s = sync_every_s
        self._synced_s = 0.0
        self._in_flight_bytes = 0
        self._in_flight_records = 0
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

    def _run(self) -> None:
        while not self._done():
            try:
                self._wait()
                self._drop_acknowledged()
                self._send()
                self._sync()
                self._reserve.hold()
            except OSError as error:
                self._reserve.release(error)

    def _done(self) -> bool:
        if self._stop_at_s is None:
            return False
        return time.monotonic() >= self._stop_at_s or all(
            segment.acked == segment.written for segment in list(self._segments)
        )

    def _send(self) -> None:
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
        try:
            self._producer.send(record, partial(self._acked, segment, record, size))
        except Overloaded:
            return False
        segment.sent += size
        self._in_flight_bytes += size
        self._in_flight_records += 1
        return True

    def _room(self) -> bool:
        return self._in_flight_bytes < IN_FLIGHT_BYTES and self._in_flight_records < IN_FLIGHT_RECORDS

    def _acked(self, segment: Segment, record: Record, size: int, refused: str) -> None:
        self._in_flight_bytes -= size
        self._in_flight_records -= 1
        if refused:
            self._put_aside(f"{segment.path.stem}.refused", pack(record))
            telemetry.DEAD.labels(record.topic).inc()
            telemetry.log.error("Kafka refuses a record for good: put aside", topic=record.topic, reason=refused)
        segment.acked += size
        self.acked_bytes += size

    def _put_torn_aside(self, segment: Segment) -> None:
        size = segment.written - segment.sent
        telemetry.log.error("a spool file ends in no whole record: put aside", file=segment.path.name, bytes=size)
        for piece in segment.rest():
            self._put_aside(f"{segment.path.stem}.torn", piece)
        segment.sent += size
        segment.acked += size
        self.acked_bytes += size

    def _put_aside(self, name: str, data: bytes) -> None:
        self._aside.mkdir(exist_ok=True)
        with (self._aside / name).open("ab") as file:
            file.write(data)

    def _drop_acknowledged(self) -> None:
        while self._segments and self._segments[0].sealed and self._segments[0].acked == self._segments[0].written:
            self._segments[0].remove()
            self._segments.popleft()

    def _sync(self) -> None:
        if self._sync_every_s is not None and time.monotonic() - self._synced_s >= self._sync_every_s:
            for segment in list(self._segments):
                segment.sync()
            self._synced_s = time.monotonic()

    def _wait(self) -> None:
        if self._in_flight_records:
            self._producer.poll(ACK_WAIT_S)
            return
        self._producer.poll(0)
        self._written.wait(IDLE_WAIT_S if self._sync_every_s is None else self._sync_every_s)
        self._written.clear()
