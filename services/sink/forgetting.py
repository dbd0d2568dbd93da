"""Keeps customers who were erased from coming back, when topics are read again or what was under way arrives late.

Known erasures are held against a batch before it is inserted. Then the table `erasures` is looked at again, still
before the commit: one that came in between may have missed rows of this batch, and they are taken back. So whichever
comes first, the erasure's own deletion or this look sees every row.

An exchange that is not kept still goes into the ledger, with source, sequence and id alone: it arrived.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from services import telemetry
from services.clickhouse import ClickHouse
from services.erasures import KNOWN, SECRET, Erased, Erasure, secret_of
from services.sink.batch import Rows, token
from services.topics import Record, decode

ASKED: Final[Mapping[str, Callable[[Any], Timestamp]]] = {
    "exchanges": lambda exchange: exchange.started_at if exchange.HasField("started_at") else exchange.finished_at,
    "feedback": lambda record: record.created_at,
    "candidates": lambda made: made.asked_at if made.HasField("asked_at") else made.decided_at,
    "shadows": lambda pair: pair.asked_at,
}
"""The topics that speak of customers, and when the customer spoke."""
KEY: Final[Mapping[str, Callable[[Any], str]]] = {
    "exchanges": lambda exchange: exchange.request.group_key,
    "feedback": lambda record: record.group_key,
    "candidates": lambda made: made.request.group_key,
    "shadows": lambda pair: pair.group_key,
}
GONE: Final = "SELECT DISTINCT toString(id) AS gone FROM erased_exchanges WHERE id IN {ids:Array(UUID)}"
ORPHANS: Final = "SELECT toString(id) AS orphan FROM feedback WHERE exchange_id IN {ids:Array(UUID)} AND group_key = ''"

IDS_AT_ONCE: Final = 2_000
"""78 KB of them: ClickHouse takes statements of 256 KiB and parameters of 128 KiB."""

Hits = Sequence[tuple[Record, Any, Erasure]]
"""Records of erased customers, each with its message and the erasure."""


class Forgetting:
    """The erasures as of the last look. Every method raises Overloaded while ClickHouse can't be used."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._known: Erased | None = None
        self._secret = ""

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
        known = [Erasure.of(row) for row in self._clickhouse.query(KNOWN)]
        if known and not self._secret:
            self._secret = secret_of(self._clickhouse.query(SECRET))
        return Erased(known, self._secret)

    def _hits(self, topic: str, rows: Rows) -> Hits:
        known, now_us = self._known or Erased(), int(time.time() * 1e6)
        if not known:  # As nearly always: to decode all messages once more costs a tenth of what the sink can do.
            return []
        read = ((record, decode(record)) for record, _ in rows)
        suspects = ((record, made) for record, made in read if known.knows(KEY[topic](made)))
        found = [(record, made, _covering(known, topic, made, now_us)) for record, made in suspects]
        return [(record, made, erasure) for record, made, erasure in found if erasure]

    def _without_key(self, topic: str, rows: Rows) -> set[int]:
        """Feedback may name an erased exchange without its group key."""
        if topic != "feedback":
            return set()
        read = ((record, decode(record)) for record, _ in rows)
        named = {id(record): str(UUID(made.exchange_id)) for record, made in read if not made.group_key}
        found = set(self._asked(GONE, sorted(set(named.values()))))
        return {place for place, exchange_id in named.items() if exchange_id in found}

    def _enter(self, topic: str, hits: Hits) -> None:
        if topic != "exchanges" or not hits:
            return
        batch = f"erased-{token(record for record, _, _ in hits)}"
        arrived = [(made.source, made.sequence, UUID(made.id)) for _, made, _ in hits]
        self._clickhouse.insert("ledger", ("source", "sequence", "id"), arrived, batch)
        noted = [(UUID(made.id), erasure.id) for _, made, erasure in hits]
        self._clickhouse.insert("erased_exchanges", ("id", "erasure"), noted, batch)
        # Feedback without a group key may have come before its exchange.
        self._delete("feedback", self._asked(ORPHANS, [str(UUID(made.id)) for _, made, _ in hits]))

    def _take_back(self, topic: str, hits: Hits) -> None:
        self._enter(topic, hits)
        self._delete(topic, [str(UUID(made.id)) for _, made, _ in hits])

    def _asked(self, sql: str, ids: Sequence[str]) -> list[str]:
        """The one column of a question about these ids."""
        answers = [self._clickhouse.query(sql, {"ids": some}) for some in _portions(ids)]
        return [str(*row.values()) for answer in answers for row in answer]

    def _delete(self, table: str, ids: Sequence[str]) -> None:
        """Remove rows by their ids, which are UUIDs; returns when they are gone."""
        for some in _portions(ids):
            listed = ", ".join(f"'{one}'" for one in some)
            self._clickhouse.command(f"ALTER TABLE {table} DELETE WHERE id IN ({listed}) SETTINGS mutations_sync = 1")


def _covering(known: Erased, topic: str, message: Any, now_us: int) -> Erasure | None:
    task = message.request.task if topic == "exchanges" else message.task
    asked = ASKED[topic](message)
    return known.covering(task, KEY[topic](message), asked.seconds * 1_000_000 + asked.nanos // 1_000, now_us)


def _portions(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)]
