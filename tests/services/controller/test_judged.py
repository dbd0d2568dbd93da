"""Which calls are judged, against the engine and the sink's own tables."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.clickhouse import ClickHouse
from services.controller.calibration import Calibration, Judged, Outcome
from services.controller.judged import ClickHouseCalls
from services.controller.store import GOLDEN_COLUMNS
from services.topics import FEEDBACK, SHADOWS, encode
from tests.fixtures.tables import Tables
from tests.services.controller.world import NOON, a_task

pytestmark = pytest.mark.contract
RIGHT = Judged(-0.25, False, False, 0.000001, 0.03)
TOLD = ("shadows", "feedback", "golden", "calibrations")


@pytest.fixture
def calls(tables: Tables) -> Iterator[ClickHouseCalls]:
    for table in TOLD:
        tables.connection.command(f"TRUNCATE TABLE {table}")
    yield ClickHouseCalls(lambda: ClickHouse(tables.connection._settings))
    for table in TOLD:
        tables.connection.command(f"TRUNCATE TABLE {table}")


def a_pair(tables: Tables, question: str = "is it?", student: str = "yes", **fields: Any) -> str:
    known: dict[str, Any] = {"id": str(uuid_utils.uuid7()), "task": "labels", "student_version": 1}
    pair = events.ShadowPair(**{**known, "question": question, "agreed": student == "yes", **fields})
    pair.answered_by = inference.BACKEND_TEACHER
    pair.teacher.message.content, pair.teacher.cost_usd = "yes", "0.03"
    pair.student.message.content, pair.student.cost_usd, pair.student.confidence = student, "0.000001", -0.25
    if not pair.HasField("asked_at"):
        pair.asked_at.FromDatetime(NOON - timedelta(days=1))
    tables.load(encode(SHADOWS, pair))
    return pair.id


def said(tables: Tables, of: str, **fields: Any) -> None:
    told = events.FeedbackRecord(id=str(uuid_utils.uuid7()), exchange_id=of, task="labels", **fields)
    told.created_at.FromDatetime(NOON)
    tables.load(encode(FEEDBACK, told))


def test_a_complaint_is_no_judgement_but_a_drawn_one_is(tables: Tables, calls: ClickHouseCalls) -> None:
    said(tables, a_pair(tables), correction="no")
    said(tables, a_pair(tables), rating=-1.0)
    a_pair(tables)
    assert calls.judged(a_task(), 1, NOON) == []
    said(tables, a_pair(tables), correction="no", metrics={"audit": 1.0})
    said(tables, a_pair(tables), rating=1.0, metrics={"audit": 1.0})
    judged = calls.judged(a_task(), 1, NOON)
    assert sorted(call.student_wrong for call in judged) == [False, True]


def test_a_golden_example_judges_the_calls_that_ask_the_same(tables: Tables, calls: ClickHouseCalls) -> None:
    a_pair(tables, " is   it? ", student="no")
    a_pair(tables, "another one")
    row = ("labels", "an id", "is it?", "yes", "", "", {}, NOON)
    tables.connection.insert("golden", GOLDEN_COLUMNS, [row], token="t")
    assert calls.judged(a_task(), 1, NOON) == [Judged(-0.25, True, False, 0.000001, 0.03)]


def test_with_the_teachers_word_for_the_truth_all_pairs_count(tables: Tables, calls: ClickHouseCalls) -> None:
    a_pair(tables)
    assert calls.judged(a_task(proof="teacher"), 1, NOON) == [RIGHT]


def test_a_customer_counts_once_a_day_another_student_and_what_is_old_not_at_all(
    tables: Tables, calls: ClickHouseCalls
) -> None:
    for _ in range(3):
        a_pair(tables, group_key="one of many calls")
    a_pair(tables, student_version=2)
    old = events.ShadowPair()
    old.asked_at.FromDatetime(NOON - timedelta(days=29))
    a_pair(tables, asked_at=old.asked_at)
    assert calls.judged(a_task(proof="teacher"), 1, NOON) == [RIGHT]


def test_what_was_found_is_kept(tables: Tables, calls: ClickHouseCalls) -> None:
    found = Calibration(Outcome.UNPROVEN, "too few", 7)
    calls.note(events.Promotion(task="labels", student_version=1), found, NOON)
    [row] = tables.connection.query("SELECT outcome, threshold, bound, rows, reason FROM calibrations")
    assert row == {"outcome": "unproven", "threshold": 0.0, "bound": 1.0, "rows": 7, "reason": "too few"}
