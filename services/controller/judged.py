"""Calls whose truth is known, for a cascade's threshold: from the view `shadow_pairs`, and the one place with its SQL.

Pairs are chosen by a hash that looks at no answer, so they are a fair sample of the calls. Truth is a golden example of
the same question, or what somebody said who looks at calls that were drawn by lot (feedback with the metric `audit`
above 0). All other feedback is left out: people correct what is wrong and seldom say what is right, so that a share of
wrong ones can't be told from it. With `proof: teacher` the teacher's answers are the truth, and all pairs count.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import uuid_utils

from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.controller.calibration import Calibration, Judged
from services.controller.truths import TRUTHS
from services.erasures import micros
from services.tasks import Task, meaning

WINDOW: Final = timedelta(days=28)
"""Of which calls: what customers asked before may be of another sort."""
MOST: Final = 20_000
"""The latest. By then another one says nothing new."""

# One of a customer's a day: those of one are alike, and many would prove less than they seem to.
CALLS: Final = (
    TRUTHS
    + """
SELECT pair.confidence AS confidence, pair.student_refusal AS refusal, pair.student_answer AS student,
       pair.teacher_answer AS teacher, pair.agreed AS agreed, pair.answered_by AS answered_by, pair.rating AS rating,
       multiIf(known.text != '', known.truth, pair.audited, pair.correction, NULL) AS truth,
       toFloat64(pair.student_cost_usd) AS student_usd, toFloat64(pair.teacher_cost_usd) AS teacher_usd
FROM shadow_pairs AS pair LEFT JOIN known ON known.text = trimBoth(replaceRegexpAll(pair.question, '\\s+', ' '))
WHERE pair.task = {task:String} AND pair.student_version = {version:UInt32} AND pair.teacher_answer != ''
      AND pair.asked_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
      AND ({all:Bool} OR known.text != '' OR pair.audited)
ORDER BY pair.asked_at DESC, pair.id
LIMIT 1 BY if(pair.group_key = '', toString(pair.id), pair.group_key), toDate(pair.asked_at)
LIMIT {most:UInt32}
"""
)
NOTED: Final = ("task", "at", "student_version", "outcome", "threshold", "kept", "error", "bound", "rows", "reason")


class JudgedCalls(Protocol):
    """What is known of calls: ClickHouseCalls, or its fake. Raises Overloaded."""

    def judged(self, task: Task, version: int, now: datetime) -> list[Judged]:
        """The calls of late of which this student's answer and the truth are known."""

    def note(self, current: events.Promotion, found: Calibration, now: datetime) -> None:
        """Write down what was found."""


class ClickHouseCalls:
    """JudgedCalls over ClickHouse. `connect` makes a connection, as one is not shared between threads."""

    def __init__(self, connect: Callable[[], ClickHouse]) -> None:
        self._connect = connect

    def judged(self, task: Task, version: int, now: datetime) -> list[Judged]:
        since_us = micros(now - WINDOW)
        by_teacher = task.proof == "teacher"
        known = {"task": task.name, "version": version, "since_us": since_us, "all": by_teacher, "most": MOST}
        with closing(self._connect()) as clickhouse:
            rows = clickhouse.query(CALLS, known)
        return [call for row in rows if (call := judge(row, by_teacher)) is not None]

    def note(self, current: events.Promotion, found: Calibration, now: datetime) -> None:
        point = found.point
        figures = (point.threshold, point.kept, point.error, point.bound) if point else (0.0, 0.0, 0.0, 1.0)
        told = (found.outcome.value, *figures, found.rows, found.reason)
        row = (current.task, now, current.student_version, *told)
        with closing(self._connect()) as clickhouse:
            clickhouse.insert("calibrations", NOTED, [row], token=str(uuid_utils.uuid7()))


def judge(row: Mapping[str, Any], by_teacher: bool) -> Judged | None:
    """A row of CALLS, judged; None where nobody knows. What is not known of one of the two counts as wrong."""
    wrong = _wrong(row, by_teacher)
    if wrong is None:
        return None
    valid = row["student"] and not row["refusal"]
    confidence = row["confidence"] if valid else None
    return Judged(confidence, wrong["student"], wrong["teacher"], row["student_usd"], row["teacher_usd"])


def _wrong(row: Mapping[str, Any], by_teacher: bool) -> Mapping[str, bool] | None:
    if by_teacher:
        return {"student": not row["agreed"], "teacher": False}
    if row["truth"] is not None:
        return {by: meaning(row[by]) != meaning(row["truth"]) for by in ("student", "teacher")}
    if not row["rating"]:
        return None
    given, other = ("teacher", "student") if row["answered_by"] == "teacher" else ("student", "teacher")
    wrong = row["rating"] < 0
    return {given: wrong, other: wrong if row["agreed"] else True}
