"""What ClickHouse knows of a ramp: pairs of answers, how the student's calls ended, and what was decided before.

The one place with SQL for it. Pairs come from the view `shadow_pairs`: calls that a hash chose, whoever answered them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import uuid_utils

from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.controller.truths import TRUTHS
from services.controller.worth import Pair
from services.erasures import micros

MOST_PAIRS: Final = 20_000
"""Read of a kind at a stage, the latest. By then a difference that matters is long known; more would only take time."""
LONGEST_GUARD: Final = timedelta(days=1)
"""Guards look at the calls of a day at most: a look reads them all."""
BEFORE: Final = timedelta(days=28)
"""In which traffic, before a ramp began, its kinds are looked for."""
MOST_KINDS: Final = 16

# One pair of a group a day at most, the first: a later one must not take its place when it has been looked at.
PAIRS: Final = (
    TRUTHS  # noqa: S608 - constants alone
    + """
SELECT pair.kind AS kind, pair.asked_at AS at, pair.answered_by AS shown, ifNull(pair.agreed, false) AS agreed,
       pair.student_answer = '' AS silent, pair.student_refusal AS refusal, pair.confidence AS confidence,
       known.text != '' AS golden, golden OR ifNull(pair.correction, '') != '' AS decided,
       if(golden, known.truth, ifNull(pair.correction, '')) AS truth, pair.audited AS audited, pair.rating AS rating,
       if(decided, pair.teacher_answer, '') AS teacher, if(decided, pair.student_answer, '') AS student,
       toFloat64(pair.teacher_cost_usd) AS teacher_usd, toFloat64(pair.student_cost_usd) AS student_usd
FROM (
    SELECT * FROM (
        SELECT * FROM shadow_pairs
        WHERE task = {task:String} AND student_version = {version:UInt32} AND teacher_answer != ''
              AND asked_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
              AND if({others:Bool}, kind NOT IN {kinds:Array(String)}, kind IN {kinds:Array(String)})
        ORDER BY asked_at, id
        LIMIT {per_group:UInt32} BY if(group_key = '', toString(id), group_key), toDate(asked_at)
    ) ORDER BY asked_at DESC, id DESC LIMIT {most:UInt32}
) AS pair LEFT JOIN known ON known.text = trimBoth(replaceRegexpAll(pair.question, '\\s+', ' '))
ORDER BY pair.asked_at, pair.id
"""
)

# The student's part of each call, unseen or not, in blocks of five minutes. An answer that was not sure enough is one.
CALLS: Final = """
SELECT intDiv(toUnixTimestamp(at), 300) AS block, count() AS asked, countIf(silent) AS failed,
       countIf(NOT silent AND refusal != '') AS invalid, countIf(us > {p95_us:UInt64}) AS beyond_p95,
       countIf(us > {p99_us:UInt64}) AS beyond_p99
FROM (
    SELECT asked_at AS at, student_answer = '' AS silent, student_refusal AS refusal, student_latency_us AS us
    FROM shadows FINAL
    WHERE task = {task:String} AND student_version = {version:UInt32} AND answered_by = 'teacher'
          AND asked_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
          AND id NOT IN (SELECT id FROM exchanges WHERE task = {task:String} AND student_us > 0
                         AND started_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC'))
    UNION ALL
    SELECT started_at AS at,
           answered_by != 'student' AND NOT arrayExists(
               one -> JSONExtractString(one, 'backend') = 'BACKEND_STUDENT' AND JSONHas(one, 'message'),
               JSONExtractArrayRaw(attempts)) AS silent,
           if(answered_by = 'student' OR refusal LIKE 'confidence:%', '', refusal) AS refusal, student_us AS us
    FROM exchanges FINAL
    WHERE task = {task:String} AND student_us > 0 AND outcome != 'cancelled' AND refusal NOT LIKE 'cancelled:%'
          AND started_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
) GROUP BY block ORDER BY block
"""

# Of all calls that were answered, by whom, and whether callers were content with them.
COMPLAINTS: Final = """
SELECT intDiv(toUnixTimestamp(started_at), 300) AS block, answered_by AS backend, count() AS answered,
       countIf(id IN (
           SELECT exchange_id FROM feedback FINAL
           WHERE task = {task:String} AND (ifNull(rating, 0) < 0 OR ifNull(correction, '') != '')
                 AND created_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC'))) AS complaints
FROM exchanges FINAL
WHERE task = {task:String} AND outcome = 'answered' AND origin != 'import'
      AND started_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
GROUP BY block, backend ORDER BY block
"""

KINDS: Final = """
SELECT kind, count() AS calls, sum(calls) OVER () AS total FROM exchanges FINAL
WHERE task = {task:String} AND origin != 'import'
      AND started_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
      AND started_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
GROUP BY kind ORDER BY calls DESC, kind
"""

PROMOTIONS: Final = """
SELECT id, policy, share, share_of_kind, min_confidence, student_version, reason, decided_by, decided_at
FROM promotions FINAL WHERE task = {task:String} ORDER BY decided_at, id
"""


@dataclass(frozen=True)
class Calls:
    """How the student's calls of five minutes ended."""

    asked: int
    failed: int
    invalid: int
    beyond_p95: int
    beyond_p99: int


@dataclass(frozen=True)
class Complaints:
    """How many answers of five minutes callers were not content with."""

    student: int
    of_student: int
    teacher: int
    of_teacher: int


@dataclass(frozen=True)
class Sought:
    """Which pairs: of a task's student since then, of these kinds or of all others."""

    task: str
    version: int
    since: datetime
    kinds: tuple[str, ...]
    others: bool
    per_group: int


class Observed(Protocol):
    """What is known of a ramp: ClickHousePairs, or its fake. Every method raises Overloaded."""

    def promotions(self, task: str) -> list[events.Promotion]:
        """All that were stored, in order of time."""

    def kinds(self, task: str, before: datetime, least_share: float) -> tuple[tuple[str, ...], bool]:
        """The kinds that made up that part of the calls before then, and whether all others together did."""

    def pairs(self, sought: Sought) -> list[Pair]:
        """The pairs in order of time, the latest MOST_PAIRS."""

    def calls(self, task: str, version: int, since: datetime, p95_ms: int, p99_ms: int) -> list[Calls]:
        """The student's calls since then, a row for five minutes, in order of time."""

    def complaints(self, task: str, since: datetime) -> list[Complaints]:
        """What callers said since then, a row for five minutes, in order of time."""

    def note(self, promotion: events.Promotion, reason: str, at: datetime) -> None:
        """Write down why nothing was decided."""

    def close(self) -> None:
        """Let go of the connection."""


class ClickHousePairs:
    """Observed over a connection to ClickHouse."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def promotions(self, task: str) -> list[events.Promotion]:
        return [_promotion(task, row) for row in self._query(PROMOTIONS, task=task)]

    def kinds(self, task: str, before: datetime, least_share: float) -> tuple[tuple[str, ...], bool]:
        rows = self._query(KINDS, task=task, from_us=micros(before - BEFORE), to_us=micros(before))
        large = [row for row in rows if row["kind"] and row["calls"] >= least_share * row["total"]][:MOST_KINDS]
        total = rows[0]["total"] if rows else 0
        others = total - sum(row["calls"] for row in large)
        return tuple(row["kind"] for row in large), not total or others >= least_share * total

    def pairs(self, sought: Sought) -> list[Pair]:
        rows = self._query(
            PAIRS,
            task=sought.task,
            version=sought.version,
            since_us=micros(sought.since),
            kinds=list(sought.kinds),
            others=sought.others,
            per_group=sought.per_group or 2**31,
            most=MOST_PAIRS,
        )
        return [_pair(row) for row in rows]

    def calls(self, task: str, version: int, since: datetime, p95_ms: int, p99_ms: int) -> list[Calls]:
        rows = self._query(
            CALLS, task=task, version=version, since_us=micros(since), p95_us=1000 * p95_ms, p99_us=1000 * p99_ms
        )
        return [Calls(**{name: count for name, count in row.items() if name != "block"}) for row in rows]

    def complaints(self, task: str, since: datetime) -> list[Complaints]:
        blocks: dict[int, dict[str, tuple[int, int]]] = {}
        for row in self._query(COMPLAINTS, task=task, since_us=micros(since)):
            blocks.setdefault(row["block"], {})[row["backend"]] = (row["complaints"], row["answered"])
        none = (0, 0)
        return [Complaints(*one.get("student", none), *one.get("teacher", none)) for one in blocks.values()]

    def note(self, promotion: events.Promotion, reason: str, at: datetime) -> None:
        row = (promotion.task, at, promotion.id, promotion.student_version, reason)
        columns = ("task", "at", "promotion_id", "student_version", "reason")
        self._clickhouse.insert("ramp_looks", columns, [row], token=str(uuid_utils.uuid7()))

    def close(self) -> None:
        self._clickhouse.close()

    def _query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return self._clickhouse.query(sql, parameters)


def _pair(row: dict[str, Any]) -> Pair:
    row["truth"] = row["truth"] if row.pop("decided") else None
    return Pair(**row)


def _promotion(task: str, row: dict[str, Any]) -> events.Promotion:
    kind = f"POLICY_KIND_{row['policy'].upper()}"
    policy = events.Policy(
        kind=kind if kind in events.PolicyKind.DESCRIPTOR.values_by_name else None,
        share=row["share"],
        share_of_kind=row["share_of_kind"],
        min_confidence=row["min_confidence"],
    )
    told = {name: row[name] for name in ("id", "student_version", "reason", "decided_by")}
    made = events.Promotion(task=task, policy=policy, **told)
    made.decided_at.FromDatetime(row["decided_at"])
    return made
