"""How far this source, and those that a killed gateway left in the spool, have come: told on topic `sources`.

A reply can be lost only if its sequence is forgotten with it, so the last sequence of a source is known three times
over: from what Kafka has of it, from the state that is told every second, and from the spool. The spool's word is
exact: a sequence stands in a file that is still there, or in the note that was made before its file was deleted. The
next gateway in the same spool reads both, sends what is left and closes the source with its last sequence.

What can't be known: a machine lost with its disk takes along the number of those it answered since its last state
reached Kafka, a second's worth, or an outage's if Kafka was away.
"""

import socket
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from protos import events_pb2 as events
from services import telemetry
from services.errors import BadEvent, Overloaded
from services.kafka import Producer
from services.topics import EXCHANGES, SOURCES, Record, decode, encode, position

Place = tuple[str, int]
"""A source and a sequence of it."""
SUFFIX: Final = ".source"
TELL_EVERY_S: Final = 1.0
TELL_AT_LEAST_EVERY_S: Final = 30.0
HOST: Final = socket.gethostname()


class Sources:
    """The states of this spool's sources. The draining thread's alone, but for `written`, which it only calls."""

    def __init__(self, own: str, written: Callable[[], int], directory: Path, producer: Producer) -> None:
        self._own = own
        self._written = written
        self._directory = directory
        self.producer = producer
        self._sent = noted(directory)
        self._put_aside: defaultdict[str, int] = defaultdict(int)
        self._in_flight: OrderedDict[Place, Record] = OrderedDict()
        self._told: dict[str, tuple[float, events.SourceState]] = {}
        self._telling: set[str] = set()
        self._looked_s = 0.0
        self._began_ns = time.time_ns() - time.monotonic_ns()
        self._sent[own] = 0
        self.note()

    def sent(self, record: Record) -> Place | None:
        """The record is in flight; returns its place, if it is an exchange's."""
        if record.topic != EXCHANGES.name or (place := position(record)) is None:
            return None
        source, sequence = place
        self._sent[source] = max(sequence, self._sent.get(source, 0))
        self._in_flight[place] = record
        return place

    def not_sent(self, place: Place | None) -> None:
        """It was not, after all: the producer takes no more for now."""
        if place and self._in_flight.pop(place, None):
            self._sent[place[0]] = place[1] - 1

    def acked(self, place: Place | None, refused: bool) -> None:
        """Kafka has it, or has refused it for good."""
        if place and self._in_flight.pop(place, None) and refused:
            self._put_aside[place[0]] += 1

    def note(self) -> None:
        """Write the last sequence sent of each source beside the segments: before one of these is deleted."""
        for source, sequence in self._sent.items():
            with suppress(OSError):  # On a full disk segments must go all the same; Kafka has been told, too.
                _write_note(self._directory / f"{source}{SUFFIX}", sequence)

    def tell(self, left_is_sent: bool) -> None:
        """Send what has changed, and after a while what has not; at most one state of a source is under way.

        `left_is_sent`: Kafka has all that earlier gateways left, so their sources end. They are not told before: what
        they said themselves of their last sequence may be more than has been read of it as yet.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < TELL_EVERY_S:
            return
        self._looked_s = now_s
        for source in list(self._sent) if left_is_sent else [self._own]:
            self._tell(self._state(source, ended=source != self._own), now_s)

    def end(self, within_s: float) -> None:
        """The process ends in good order: say so, if Kafka has all of its source."""
        self.note()
        state = self._state(self._own, ended=True)
        if state.acknowledged == state.last_sequence:
            self._telling.discard(self._own)
            self._tell(state, time.monotonic())
            self.producer.flush(within_s)

    def _state(self, source: str, ended: bool) -> events.SourceState:
        last = self._written() if source == self._own else self._sent[source]
        oldest = next((place for place in self._in_flight if place[0] == source), None)
        state = events.SourceState(
            source=source,
            last_sequence=last,
            acknowledged=oldest[1] - 1 if oldest else self._sent[source],
            put_aside=self._put_aside[source],
            ended=ended,
            host=HOST,
        )
        if oldest:
            state.oldest_unacknowledged_at.CopyFrom(_finished_at(self._in_flight[oldest]))
        return state

    def _tell(self, state: events.SourceState, now_s: float) -> None:
        told_s, told = self._told.get(state.source, (now_s, None))
        if state.source in self._telling or (state == told and now_s - told_s < TELL_AT_LEAST_EVERY_S):
            return
        message = events.SourceState()
        message.CopyFrom(state)
        # A wall clock that is set back would make this state older than the last, and ClickHouse keep that one.
        message.at.FromNanoseconds(self._began_ns + time.monotonic_ns())
        with suppress(Overloaded):  # The next turn has a newer one.
            self.producer.send(encode(SOURCES, message), lambda refused: self._was_told(state, refused))
            self._telling.add(state.source)
            self._told[state.source] = now_s, state

    def _was_told(self, state: events.SourceState, refused: str) -> None:
        self._telling.discard(state.source)
        if refused:
            telemetry.log.warning("Kafka refuses a source's state", source=state.source, reason=refused)
        elif state.ended:
            self._sent.pop(state.source, None)
            (self._directory / f"{state.source}{SUFFIX}").unlink(missing_ok=True)


def noted(directory: Path) -> dict[str, int]:
    """The last sequence noted of each source that no gateway has closed as yet."""
    notes: dict[str, int] = {}
    for path in directory.glob(f"*{SUFFIX}"):
        notes[path.stem] = int(path.read_bytes() or b"0")  # Empty: killed while it was made, before the first call.
    return notes


def _write_note(path: Path, sequence: int) -> None:
    """Always the same length, over what stood there: it needs no room on a full disk and is never half written."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(b"%020d\n" % sequence)


def _finished_at(record: Record) -> Timestamp:
    try:
        exchange: events.Exchange = decode(record)
    except BadEvent:
        return Timestamp()
    return exchange.finished_at
