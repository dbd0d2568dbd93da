"""When a batch is written, and by which token a repeated one is known; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import xxhash

from services.topics import Record

Rows = Sequence[tuple[Record, bytes]]
"""Records, and each as ClickHouse reads it: see services.sink.wire."""
Place = tuple[str, int]
"""A topic and a partition of it."""


class Due(Enum):
    """Why a batch is written now."""

    ROWS = "it has as many rows as a batch may have"
    BYTES = "it has as many bytes as a batch may have"
    AGE = "its first record has waited long enough"
    NOT_YET = "it may still grow"


@dataclass(frozen=True)
class Limits:
    """What a batch may become before it is written; whichever comes first."""

    rows: int
    size_bytes: int
    age_s: float


@dataclass
class Batch:
    """Records of one topic, in the order of reading, with the row or the refusal of each.

    All of `records` are committed when `rows` are inserted and `dead` lie with the dead letters.
    """

    first_at_s: float
    records: list[Record] = field(default_factory=list)
    rows: list[tuple[Record, bytes]] = field(default_factory=list)
    dead: list[tuple[Record, str]] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, record: Record, row: bytes | None, refusal: str = "") -> None:
        """Take a record with its row, or with the reason why there is none."""
        self.records.append(record)
        self.size_bytes += len(record.value)
        if row is None:
            self.dead.append((record, refusal))
        else:
            self.rows.append((record, row))

    def keep(self, owned: set[Place]) -> None:
        """Forget what is read by another member of the group now."""
        self.records = [record for record in self.records if place(record) in owned]
        self.rows = [(record, row) for record, row in self.rows if place(record) in owned]
        self.dead = [(record, reason) for record, reason in self.dead if place(record) in owned]
        self.size_bytes = sum(len(record.value) for record in self.records)


def due(batch: Batch, limits: Limits, now_s: float) -> Due:
    """Whether the batch is written now, and why."""
    if len(batch.records) >= limits.rows:
        return Due.ROWS
    if batch.size_bytes >= limits.size_bytes:
        return Due.BYTES
    if batch.records and now_s - batch.first_at_s >= limits.age_s:
        return Due.AGE
    return Due.NOT_YET


def token(records: Iterable[Record]) -> str:
    """The same for the same records at the same places, and for nothing else: ClickHouse drops what it has had.

    The values count too: a topic that was made anew has other records under the old offsets.
    """
    seen = xxhash.xxh3_128()
    for record in records:
        seen.update(f"{record.topic}/{record.partition}/{record.offset}/{len(record.value)}:".encode())
        seen.update(record.value)
    return seen.hexdigest()


def place(record: Record) -> Place:
    """Where the record was read."""
    return record.topic, record.partition
