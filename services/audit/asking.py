"""What ClickHouse knows of the ledger: every query of the audit stands here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from services.audit.arithmetic import SILENT_S, Course, Look, Range, joined, ranges_of
from services.clickhouse import ClickHouse

BLOCK: Final = 1048576
"""Sequences in a block of table `ledger_blocks`; its view in the schema says the same."""

# How far each source says it has come. Ages are told by ClickHouse's own clock, but for the oldest's.
TOLD: Final = """
SELECT source, max(last_sequence) AS told, max(sources.acknowledged) AS acknowledged,
       max(sources.put_aside) AS put_aside, max(sources.ended) AS ended,
       dateDiff('second', max(inserted_at), now('UTC')) AS heard_s,
       argMax(sources.oldest_unacknowledged_at, sources.at) AS oldest_at,
       if(ended OR oldest_at = toDateTime64(0, 6, 'UTC'), 0,
          greatest(0, dateDiff('millisecond', oldest_at, now64(6, 'UTC')) / 1000)) AS oldest_s
FROM sources GROUP BY source
"""
# What has arrived, block by block, with the sequences that are not there between the block's begin and its last.
ARRIVED: Final = f"""
SELECT source, block, last,
       bitmapToArray(bitmapAndnot(
           bitmapBuild(range(block * {BLOCK} + 1, if(whole, block * {BLOCK} + 1, last + 1))), here)) AS holes
FROM (
    SELECT source, block, max(ledger_blocks.last) AS last, groupBitmapMergeState(seen) AS here,
           bitmapCardinality(here) = last - block * {BLOCK} AS whole
    FROM ledger_blocks GROUP BY source, block
)
ORDER BY source, block
"""  # noqa: S608 - a number of ours
# What a person has said is lost.
WRITTEN_OFF: Final = "SELECT source, first, last FROM written_off"
# Ids that stand twice although the tables fold; days since 1970 are those of UUIDs that carry no time.
DUPLICATES: Final = """
SELECT count() - uniqExact(id) AS n FROM exchanges FINAL
WHERE toDate(UUIDv7ToDateTime(id, 'UTC')) >= today() - {days:UInt32}
   OR toDate(UUIDv7ToDateTime(id, 'UTC')) = toDate('1970-01-01')
"""
# What the ledger knows to have been inserted in the last day, and table `exchanges` does not hold, or not any more. No
# task keeps rows for less than a day, and by row both have the same time: an hour is left for what is in between.
# Sequences first, as bitmaps of them cost next to nothing, then the ids of those that are not there: calls sent again
# under one id are an exchange each in the ledger, and one row in the table, of any of them, stored at any time; but an
# answer is only made up for by an answer. The row stands in the partition of its id's day: only those are read.
VANISHED: Final = f"""
WITH
    known AS (
        SELECT source, intDiv(sequence - 1, {BLOCK}) AS block, groupBitmapState(sequence) AS numbers FROM ledger
        WHERE inserted_at >= now('UTC') - INTERVAL 23 HOUR AND inserted_at <= now('UTC') - {{settled_s:UInt32}}
          AND id NOT IN (SELECT id FROM erased_exchanges)
        GROUP BY source, block
    ),
    held AS (
        SELECT source, intDiv(sequence - 1, {BLOCK}) AS block, groupBitmapState(sequence) AS numbers FROM exchanges
        WHERE inserted_at >= now('UTC') - INTERVAL 24 HOUR
        GROUP BY source, block
    ),
    absent AS (
        SELECT source, arrayJoin(bitmapToArray(bitmapAndnot(known.numbers, held.numbers))) AS sequence
        FROM known LEFT JOIN held USING (source, block)
    ),
    suspects AS (
        SELECT source, id, answered FROM ledger WHERE (source, sequence) IN (SELECT source, sequence FROM absent)
    ),
    days AS (
        SELECT DISTINCT toDate(UUIDv7ToDateTime(id, 'UTC')) FROM ledger
        WHERE inserted_at >= now('UTC') - INTERVAL 23 HOUR
    ),
    standing AS (
        SELECT id, CAST(arrayJoin(if(outcome = 'answered', [1, 0], [0])) AS Bool) AS answered FROM exchanges
        WHERE toDate(UUIDv7ToDateTime(id, 'UTC')) IN (SELECT * FROM days)
    )
SELECT suspects.source AS source, uniqExact(suspects.id) AS n
FROM standing RIGHT ANTI JOIN suspects USING (id, answered) GROUP BY source
"""  # noqa: S608 - a number of ours
SETTLED_S: Final = 60
ANSWERED_IDS: Final = "SELECT uniqExact(id) AS n FROM exchanges WHERE outcome = 'answered'"


@dataclass
class _Arrived:
    """Of one source."""

    last: int = 0
    holes: list[Range] = field(default_factory=list)


def look(clickhouse: ClickHouse) -> list[Look]:
    """Every source as it is now. Raises Overloaded while ClickHouse can't be used."""
    told = {row["source"]: row for row in clickhouse.query(TOLD)}  # First: what is told is never behind what arrived.
    arrived = arrived_of(clickhouse.query(ARRIVED))
    gone = written_off(clickhouse)
    return [
        replace(_look(source, told.get(source), arrived[source]), written_off=gone.get(source, ()))
        for source in sorted({*told, *arrived})
    ]


def written_off(clickhouse: ClickHouse) -> Mapping[str, Sequence[Range]]:
    """Of each source, what was written off, whatever became of it since. Raises Overloaded."""
    found: defaultdict[str, list[Range]] = defaultdict(list)
    for row in clickhouse.query(WRITTEN_OFF):
        found[row["source"]].append((int(row["first"]), int(row["last"])))
    return found


def duplicates(clickhouse: ClickHouse, days: int) -> int:
    """How many exchanges of the last days stand there twice. Raises Overloaded."""
    return int(clickhouse.query(DUPLICATES, {"days": days})[0]["n"])


def vanished(clickhouse: ClickHouse, settled_s: int = SETTLED_S) -> dict[str, int]:
    """Of each source, how many ids of the last day were inserted and are gone, by no erasure. Raises Overloaded.

    Looks at nothing younger than `settled_s`: ClickHouse may be between the table and the views behind it.
    """
    return {row["source"]: int(row["n"]) for row in clickhouse.query(VANISHED, {"settled_s": settled_s})}


def answered_ids(clickhouse: ClickHouse) -> int:
    """How many distinct exchanges were answered and are stored. Raises Overloaded."""
    return int(clickhouse.query(ANSWERED_IDS)[0]["n"])


def arrived_of(rows: Iterable[dict[str, Any]]) -> defaultdict[str, _Arrived]:
    """The last sequence and the holes before it of each source, from the rows of ARRIVED."""
    found: defaultdict[str, _Arrived] = defaultdict(_Arrived)
    for row in rows:
        one, begin = found[row["source"]], int(row["block"]) * BLOCK
        one.holes += _between(one.last + 1, begin) + ranges_of(map(int, row["holes"]))
        one.last = int(row["last"])
    return found


def _look(source: str, told: dict[str, Any] | None, arrived: _Arrived) -> Look:
    if told is None:
        return Look(source, arrived.last, arrived.last, joined(arrived.holes), course=Course.UNTOLD)
    answered = max(int(told["told"]), arrived.last)
    return Look(
        source=source,
        answered=answered,
        acknowledged=answered if told["ended"] else min(int(told["acknowledged"]), answered),
        holes=joined(arrived.holes + _between(arrived.last + 1, answered)),
        put_aside=int(told["put_aside"]),
        course=_course(bool(told["ended"]), float(told["heard_s"])),
        oldest_s=float(told["oldest_s"]),
        heard_s=0.0 if told["ended"] else float(told["heard_s"]),
    )


def _course(ended: bool, heard_s: float) -> Course:
    if ended:
        return Course.ENDED
    return Course.SILENT if heard_s > SILENT_S else Course.OPEN


def _between(first: int, last: int) -> list[Range]:
    return [(first, last)] if first <= last else []
