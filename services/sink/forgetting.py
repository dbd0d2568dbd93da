"""Keeps customers who were erased from coming back, when topics are read again or what was under way arrives late.

Known erasures are held against a batch before it is inserted. Then the table `erasures` is looked at again, still
before the commit: one that came in between may have missed rows of this batch, and they are taken back. So whichever
comes first, the erasure's own deletion or this look sees every row.

An exchange that is not kept still goes into the ledger, with source, sequence and id alone: it arrived.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from services import telemetry
from services.clickhouse import ClickHouse
from services.erasures import KNOWN, Erased, Erasure
from services.sink.batch import Row, Rows, token
from services.sink.rows import TABLES
from services.topics import Record, decode

ASKED: Final[Mapping[str, Callable[[Any], Timestamp]]] = {
    "exchanges": lambda exchange: exchange.started_at if exchange.HasField("started_at") else exchange.finished_at,
    "feedback": lambda record: record.created_at,
    "candidates": lambda made: made.asked_at if made.HasField("asked_at") else made.decided_at,
}
"""The topics that speak of customers, and when the customer spoke."""
GONE: Final = "SELECT DISTINCT toString(id) AS gone FROM erased_exchanges WHERE id IN {ids:Array(UUID)}"
ORPHANS: Final = "SELECT toString(id) AS orphan FROM feedback WHERE exchange_id IN {ids:Array(UUID)} AND group_key = ''"

IDS_AT_ONCE: Final = 2_000
"""78 KB of them: ClickHouse takes statements of 256 KiB and parameters of 128 KiB."""

Hits = Sequence[tuple[Record, Row, Erasure]]


class Forgetting:
    """The erasures as of the last look. Every method raises Overloaded while ClickHouse can't be used."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._known: Erased | None = None

    def parted(self, topic: str, rows: Rows) -> tuple[Rows, Rows]:
        """The rows to insert, and those of erased customers."""
        if topic not in ASKED:
            return rows, []
        if self._known is None:
            self._known = self._look()
        if not self._known:
            return rows, []
        hit = {id(record) for record, _, _ in self._hits(topic, rows)} | self._without_key(topic, rows)
        return [pair for pair in rows if id(pair[0]) not in hit], [pair for pair in rows if id(pair[0]) in hit]

    def settle(self, topic: str, kept: Rows, gone: Rows) -> None:
        """Between insert and commit: enter what was not kept, and take back what has been erased meanwhile."""
        if topic not in ASKED:
            return
        if gone:
            self._enter(topic, self._hits(topic, gone))
            telemetry.ERASED.labels(topic).inc(len(gone))
        before, self._known = self._known or Erased(), self._look()
        if self._known.erasures - before.erasures and (hits := self._hits(topic, kept)):
            self._take_back(topic, hits)
            telemetry.ERASED.labels(topic).inc(len(hits))

    def _look(self) -> Erased:
        return Erased(Erasure.of(row) for row in self._clickhouse.query(KNOWN))

    def _hits(self, topic: str, rows: Rows) -> Hits:
        known, place, now_us = self._known or Erased(), TABLES[topic].columns.index("group_key"), int(time.time() * 1e6)
        suspects = ((record, row) for record, row in rows if known.knows(row[place]))
        found = [(record, row, _covering(known, topic, record, row[place], now_us)) for record, row in suspects]
        return [(record, row, erasure) for record, row, erasure in found if erasure]

    def _without_key(self, topic: str, rows: Rows) -> set[int]:
        """Feedback may name an erased exchange without its group key."""
        if topic != "feedback":
            return set()
        columns = TABLES[topic].columns
        key, exchange = columns.index("group_key"), columns.index("exchange_id")
        named = {id(record): str(row[exchange]) for record, row in rows if not row[key]}
        if not named:
            return set()
        found = set(self._asked(GONE, sorted(set(named.values()))))
        return {place for place, exchange_id in named.items() if exchange_id in found}

    def _enter(self, topic: str, hits: Hits) -> None:
        if topic != "exchanges" or not hits:
            return
        batch, columns = token(record for record, _, _ in hits), TABLES[topic].columns
        source, sequence, place = (columns.index(name) for name in ("source", "sequence", "id"))
        arrived = [(row[source], row[sequence], row[place]) for _, row, _ in hits]
        self._clickhouse.insert("ledger", ("source", "sequence", "id"), arrived, f"erased-{batch}")
        ids = [(row[place], erasure.id) for _, row, erasure in hits]
        self._clickhouse.insert("erased_exchanges", ("id", "erasure"), ids, f"erased-{batch}")
        # Feedback without a group key may have come before its exchange.
        self._delete("feedback", self._asked(ORPHANS, [str(row[place]) for _, row, _ in hits]))

    def _take_back(self, topic: str, hits: Hits) -> None:
        self._enter(topic, hits)
        place = TABLES[topic].columns.index("id")
        self._delete(topic, [row[place] for _, row, _ in hits])

    def _asked(self, sql: str, ids: Sequence[str]) -> list[str]:
        """The one column of a question about these ids."""
        answers = [self._clickhouse.query(sql, {"ids": some}) for some in _portions(ids)]
        return [str(*row.values()) for answer in answers for row in answer]

    def _delete(self, table: str, ids: Sequence[Any]) -> None:
        """Remove rows by their ids, which are UUIDs; returns when they are gone."""
        for some in _portions(ids):
            listed = ", ".join(f"'{one}'" for one in some)
            self._clickhouse.command(f"ALTER TABLE {table} DELETE WHERE id IN ({listed}) SETTINGS mutations_sync = 1")


def _covering(known: Erased, topic: str, record: Record, group_key: str, now_us: int) -> Erasure | None:
    message = decode(record)
    task = message.request.task if topic == "exchanges" else message.task
    asked = ASKED[topic](message)
    return known.covering(task, group_key, asked.seconds * 1_000_000 + asked.nanos // 1_000, now_us)


def _portions(ids: Sequence[Any]) -> list[list[Any]]:
    return [list(ids[start : start + IDS_AT_ONCE]) for start in range(0, len(ids), IDS_AT_ONCE)]
