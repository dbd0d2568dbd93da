"""What the controller asks ClickHouse, and the one table it writes: golden. A connection for each question."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import uuid_utils

from services.clickhouse import ClickHouse
from services.controller.cycle import Counts
from services.erasures import SECRET, micros, secret_of

Page = list[dict[str, Any]]

DAY_S: Final = 86_400
GOLDEN_COLUMNS: Final = ("task", "id", "input", "truth", "group_key", "kind", "metadata", "added_at")

COUNTS: Final = """
SELECT countIf(split = 'train') AS train, countIf(split = 'eval') AS eval, countIf(NOT corrected) AS uncorrected,
       (SELECT count() FROM golden FINAL WHERE task = {task:String}) AS golden
FROM candidates FINAL
WHERE task = {task:String} AND NOT excluded AND split IN ('train', 'eval')
"""

NEW: Final = """
SELECT count() AS new
FROM candidates FINAL
WHERE task = {task:String} AND NOT excluded AND split = 'train'
      AND decided_at > fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
"""

# Of the last four weeks in which there was something to answer. An exchange that was written twice counts once.
TRAFFIC: Final = """
SELECT uniqExact(id) AS requests, dateDiff('second', min(finished_at), max(finished_at)) AS seconds
FROM exchanges
WHERE task = {task:String} AND outcome = 'answered'
      AND finished_at > (SELECT max(finished_at) FROM exchanges WHERE task = {task:String}) - INTERVAL 28 DAY
"""

CANDIDATES: Final = """
SELECT id, request, question, kind, group_key, answer, corrected, reason, probability, hard,
       teacher_answer, teacher_model, decided_at
FROM candidates FINAL
WHERE task = {task:String} AND split = {split:String} AND NOT excluded AND id > {after:UUID}
ORDER BY id
LIMIT {rows:UInt32}
"""

# The teacher's latest answer to each question of a page of golden examples; none leaves its columns empty. Where it
# was asked after a student, the exchange's cost is both, so one with the teacher alone comes first. White space does
# not make another question; case may, as the right answer often keeps it. What came from a cache cost nobody anything,
# and tells nothing of the teacher.
GOLDEN: Final = """
WITH page AS (
    SELECT id, input, truth, group_key, kind, trimBoth(replaceRegexpAll(input, '\\s+', ' ')) AS text FROM golden FINAL
    WHERE task = {task:String} AND id > {after:String} ORDER BY id LIMIT {rows:UInt32}
)
SELECT page.id AS id, page.input AS input, page.truth AS truth, page.kind AS kind,
       if(page.group_key = '', asked.group_key, page.group_key) AS group_key,
       asked.text != '' AS answered, asked.teacher AS teacher
FROM page LEFT JOIN (
    SELECT trimBoth(replaceRegexpAll(question, '\\s+', ' ')) AS text,
           argMax((answer, if(teacher_us > 0, teacher_us, latency_us), toString(cost_usd), prompt_tokens,
                   completion_tokens, request), (student_us = 0, finished_at)) AS teacher,
           argMax(group_key, (student_us = 0, finished_at)) AS group_key
    FROM exchanges FINAL
    WHERE task = {task:String} AND answered_by = 'teacher' AND outcome = 'answered' AND NOT cached
          AND NOT mapContains(metadata, 'tutelage.cut_from_bytes') AND text IN (SELECT text FROM page)
    GROUP BY text
) AS asked ON page.text = asked.text
ORDER BY page.id
"""

# In the shape of GOLDEN: the teacher's whole answers, each its own truth, the newest first. Ids are in order of time as
# texts (UUIDv7), not as UUIDs, which ClickHouse orders by their second half. A page's rows are found by narrow columns.
TEACHERS: Final = """
SELECT toString(id) AS id, question AS input, answer AS truth, group_key, kind, true AS answered,
       (answer, if(teacher_us > 0, teacher_us, latency_us), toString(cost_usd), prompt_tokens, completion_tokens,
        request) AS teacher
FROM exchanges FINAL
WHERE task = {task:String} AND exchanges.id IN (
    SELECT id FROM exchanges FINAL
    WHERE task = {task:String} AND answered_by = 'teacher' AND outcome = 'answered' AND finish = 'stop' AND NOT cached
          AND NOT mapContains(metadata, 'tutelage.cut_from_bytes') AND toString(id) < {after:String}
    ORDER BY toString(id) DESC LIMIT {rows:UInt32}
)
ORDER BY toString(exchanges.id) DESC
"""
AFTER_ALL: Final = "g"  # greater than every id as text

# What a person thought worse of than of another answer: what they corrected, and what they disliked beside the latest
# answer to the same question that a person wrote or liked. The sampler takes what is disliked back, and so excludes it.
PREFERENCES: Final = """
WITH page AS (
    SELECT id, split, request, question, kind, group_key, teacher_answer AS rejected,
           if(corrected AND NOT excluded AND answer != teacher_answer, answer, '') AS correction,
           trimBoth(replaceRegexpAll(question, '\\s+', ' ')) AS text
    FROM candidates FINAL
    WHERE task = {task:String} AND split IN ('train', 'eval') AND teacher_answer != '' AND id > {after:UUID}
          AND (correction != '' OR id IN (
              SELECT exchange_id FROM feedback FINAL WHERE task = {task:String} AND rating IS NOT NULL
              GROUP BY exchange_id HAVING argMax(assumeNotNull(rating), created_at) < 0))
    ORDER BY id LIMIT {rows:UInt32}
)
SELECT page.id AS id, page.split AS split, page.request AS request, page.question AS question, page.kind AS kind,
       page.group_key AS group_key, page.rejected AS rejected, page.correction AS correction,
       better.latest.1 AS liked, better.latest.2 AS liked_request, better.latest.3 AS liked_group_key
FROM page LEFT JOIN (
    SELECT split, trimBoth(replaceRegexpAll(question, '\\s+', ' ')) AS text,
           argMax((answer, request, group_key), decided_at) AS latest
    FROM candidates FINAL
    WHERE task = {task:String} AND corrected AND NOT excluded AND text IN (SELECT text FROM page)
    GROUP BY split, text
) AS better ON page.text = better.text AND page.split = better.split
ORDER BY page.id
"""


class Store(Protocol):
    """What is known of candidates and golden examples: ClickHouseStore, or its fake. Raises Overloaded."""

    def counts(self, task: str) -> Counts:
        """What there is to learn from and to prove with."""

    def new_candidates(self, task: str, since: datetime) -> int:
        """Training candidates decided after `since`."""

    def requests_per_day(self, task: str) -> float:
        """Requests answered a day, of late. The first hours count as a day: what they hold may be all there is."""

    def candidates(self, task: str, split: str, page_rows: int) -> Iterator[Page]:
        """The candidates of a split that are not excluded, by id."""

    def golden(self, task: str, page_rows: int) -> Iterator[Page]:
        """The golden examples by id, each with the teacher's latest answer to the same question, if there is one."""

    def teachers(self, task: str, page_rows: int) -> Iterator[Page]:
        """The teacher's answers, the newest first, as golden examples whose truth is the answer itself."""

    def preferences(self, task: str, page_rows: int) -> Iterator[Page]:
        """Answers that a person thought worse of, by id, each with the better one to the same question, if known."""

    def secret(self) -> str:
        """Under which customers are known by a digest."""

    def add_golden(self, rows: Sequence[Sequence[Any]]) -> None:
        """Store golden examples, in GOLDEN_COLUMNS' order. The same id again replaces it."""


class ClickHouseStore:
    """Store over ClickHouse. `connect` makes a connection, as one is not shared between threads."""

    def __init__(self, connect: Callable[[], ClickHouse]) -> None:
        self._connect = connect

    def counts(self, task: str) -> Counts:
        with self._connected() as clickhouse:
            [row] = clickhouse.query(COUNTS, {"task": task})
        return Counts(**row)

    def new_candidates(self, task: str, since: datetime) -> int:
        with self._connected() as clickhouse:
            [row] = clickhouse.query(NEW, {"task": task, "since_us": micros(since)})
        return int(row["new"])

    def requests_per_day(self, task: str) -> float:
        with self._connected() as clickhouse:
            [row] = clickhouse.query(TRAFFIC, {"task": task})
        return float(row["requests"]) * DAY_S / max(DAY_S, int(row["seconds"]))

    def candidates(self, task: str, split: str, page_rows: int) -> Iterator[Page]:
        return self._pages(CANDIDATES, {"task": task, "split": split, "rows": page_rows}, after=str(UUID(int=0)))

    def golden(self, task: str, page_rows: int) -> Iterator[Page]:
        return self._pages(GOLDEN, {"task": task, "rows": page_rows}, after="")

    def teachers(self, task: str, page_rows: int) -> Iterator[Page]:
        return self._pages(TEACHERS, {"task": task, "rows": page_rows}, after=AFTER_ALL)

    def preferences(self, task: str, page_rows: int) -> Iterator[Page]:
        return self._pages(PREFERENCES, {"task": task, "rows": page_rows}, after=str(UUID(int=0)))

    def secret(self) -> str:
        with self._connected() as clickhouse:
            return secret_of(clickhouse.query(SECRET))

    def add_golden(self, rows: Sequence[Sequence[Any]]) -> None:
        # A token of its own each time: A, then B, then A again for one input is three inserts, not two.
        with self._connected() as clickhouse:
            clickhouse.insert("golden", GOLDEN_COLUMNS, rows, token=str(uuid_utils.uuid7()))

    def _pages(self, sql: str, parameters: dict[str, Any], after: str) -> Iterator[Page]:
        """Page after page in the query's order of ids: never the whole table in memory, and no session to lose."""
        with self._connected() as clickhouse:
            while page := clickhouse.query(sql, {**parameters, "after": after}):
                yield page
                after = str(page[-1]["id"])

    def _connected(self) -> AbstractContextManager[ClickHouse]:
        return closing(self._connect())
