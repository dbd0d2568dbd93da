"""The dead letters: what lies there, why, and what has been sent back.

That a letter was sent back is told by a marker on the same topic: a record without a value, with the letter's partition
and offset as a header. Offsets committed by a consumer group could not tell it: they know "all up to here", and one
may send back a single letter, or those of one topic. A marker needs no second place that could disagree, and goes when
the letters go, by the same retention.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NamedTuple

from services.kafka import Follower, everything
from services.settings import KafkaSettings
from services.topics import DEAD_BY, DEAD_LETTERS, EXCHANGES, LEFT_BYTES, LEFT_DIGEST, Record, digest, position

DEAD_HEADERS: Final = frozenset(
    {"dead-topic", "dead-partition", "dead-offset", "dead-reason", DEAD_BY, LEFT_BYTES, LEFT_DIGEST}
)
REPLAYED: Final = "replayed"
REPLAYED_FROM: Final = "replayed-from"
ANSWER_S: Final = 10.0
REMEMBERED: Final = 100_000
"""Letters that an audit looks for: beyond them the oldest count as missing, and the controller's memory is bounded."""


class Spot(NamedTuple):
    """Where a letter lies on the topic: `3:17`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Letter:
    """A dead letter without its bytes. `at_ms`: when it was written, milliseconds since 1970, UTC."""

    spot: Spot
    topic: str
    partition: int
    offset: int
    reason: str
    at_ms: int
    size_bytes: int
    place: tuple[str, int] | None
    """An exchange's source and sequence."""
    left: bool = False
    """It was too large for this topic: its bytes are still where it came from."""
    by: str = ""
    """The service that buried it; empty where an older version did."""
    digest: str = ""
    """Of the record's bytes, by services.topics.digest; empty where an older version left them on their topic."""

    @property
    def origin(self) -> Spot:
        """Where it lay on its own topic."""
        return Spot(self.partition, self.offset)


def spot_of(text: str) -> Spot:
    """`3:17` as a spot. Raises ValueError."""
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise ValueError(f"{text!r} is no dead letter's place: PARTITION:OFFSET, as `tutelage dead-letters list` shows")
    return Spot(int(partition), int(offset))


def letter_of(record: Record) -> Letter | None:
    """The letter, if a record of the topic is one; None for a marker, and for what somebody else put there."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers.items() if name in DEAD_HEADERS}
    if "dead-topic" not in headers:
        return None
    return Letter(
        spot=Spot(record.partition, record.offset),
        topic=headers["dead-topic"],
        partition=_number(headers.get("dead-partition", "")),
        offset=_number(headers.get("dead-offset", "")),
        reason=headers.get("dead-reason", ""),
        at_ms=record.timestamp_ms,
        size_bytes=_number(headers[LEFT_BYTES]) if LEFT_BYTES in headers else len(record.value),
        place=position(record) if headers["dead-topic"] == EXCHANGES.name else None,
        left=LEFT_BYTES in headers,
        by=headers.get(DEAD_BY, ""),
        digest=headers.get(LEFT_DIGEST, "") if LEFT_BYTES in headers else digest(record.value),
    )


def whole(letter: Record, original: Record) -> Record:
    """A letter whose bytes were left where they lay, with them."""
    buried = {name: value for name, value in letter.headers.items() if name in DEAD_HEADERS}
    return replace(letter, key=original.key, value=original.value, headers={**original.headers, **buried})


def returned(letter: Record) -> Record:
    """The record that was buried, on its way back to its topic."""
    kept = {name: value for name, value in letter.headers.items() if name not in DEAD_HEADERS}
    spot = Spot(letter.partition, letter.offset)
    topic = letter.headers["dead-topic"].decode()
    return Record(topic, letter.key, letter.value, {**kept, REPLAYED_FROM: f"{DEAD_LETTERS}/{spot}".encode()})


def marker(spot: Spot) -> Record:
    """The record that tells of a letter that it was sent back."""
    return Record(DEAD_LETTERS, str(spot).encode(), b"", {REPLAYED: str(spot).encode()})


def marked(record: Record) -> Spot | None:
    """Which letter a marker speaks of."""
    try:
        return spot_of(record.headers[REPLAYED].decode())
    except (KeyError, ValueError):
        return None


def unmarked(returning: Record) -> Record:
    """What goes back without a word of whence it comes: for a record that fits its topic with not a byte more."""
    return replace(
        returning, headers={name: value for name, value in returning.headers.items() if name != REPLAYED_FROM}
    )


def opened(records: Iterable[Record]) -> tuple[list[Letter], set[Spot]]:
    """The letters, in the order of reading, and the spots of those that were sent back."""
    letters, sent_back = [], set()
    for record in records:
        if spot := marked(record):
            sent_back.add(spot)
        elif letter := letter_of(record):
            letters.append(letter)
    return letters, sent_back


class DeadPlaces:
    """Which sequences lie in the dead letters; reads on where it stopped. Give it a follower of that topic."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._started = False
        self._places: dict[Spot, tuple[str, int]] = {}

    def by_source(self, timeout_s: float) -> dict[str, set[int]]:
        """The sequences of each source, without those that Kafka has deleted. Raises Overloaded."""
        if not self._started:
            self._follower.start(timeout_s)
            self._started = True
        for record in everything(self._follower):
            if (letter := letter_of(record)) and letter.place:
                self._places[letter.spot] = letter.place
        self._forget(self._follower.first_kept(timeout_s))
        found: defaultdict[str, set[int]] = defaultdict(set)
        for source, sequence in self._places.values():
            found[source].add(sequence)
        return found

    def _forget(self, first_kept: dict[int, int]) -> None:
        gone = [spot for spot in self._places if spot.offset < first_kept.get(spot.partition, 0)]
        for spot in [*gone, *islice(self._places, max(0, len(self._places) - REMEMBERED))]:
            self._places.pop(spot, None)

    def close(self) -> None:
        """Let go of the connection."""
        self._follower.close()


def dead_places(settings: KafkaSettings) -> dict[str, set[int]]:
    """The sequences of each source that lie in the dead letters now. Raises Overloaded."""
    places = DeadPlaces(Follower(settings, DEAD_LETTERS))
    found = places.by_source(ANSWER_S)
    places.close()  # Only here: closing what found no broker logs once more what the error says.
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1
