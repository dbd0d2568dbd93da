"""Pairs in ClickHouse: both answers and what people said since, by one query, each pair once."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.topics import FEEDBACK, SHADOWS, encode
from tests.fixtures.tables import Tables
from tests.services.sink.messages import uuid7

pytestmark = pytest.mark.contract


@pytest.fixture
def empty(tables: Tables) -> Iterator[Tables]:
    for table in ("shadows", "feedback"):
        tables.connection.command(f"TRUNCATE TABLE {table}")
    yield tables
    for table in ("shadows", "feedback"):
        tables.connection.command(f"TRUNCATE TABLE {table}")


def a_pair(pair_id: str, **fields: Any) -> events.ShadowPair:
    pair = events.ShadowPair(
        id=pair_id, task="address", question="12 Main St", policy=events.POLICY_KIND_SHADOW, **fields
    )
    pair.answered_by, pair.probability, pair.student_version = inference.BACKEND_TEACHER, 0.25, 7
    pair.teacher.message.content, pair.teacher.cost_usd, pair.teacher.latency_us = '{"n": 12}', "0.03", 900_000
    pair.student.message.content, pair.student.cost_usd, pair.student.latency_us = '{"n":12}', "1e-6", 9_000
    pair.student.confidence, pair.student.refusal = -0.25, "grounded: no"
    pair.asked_at.seconds = pair.compared_at.seconds = 1_700_000_000
    return pair


def said(of: str, at_s: int, **fields: Any) -> events.FeedbackRecord:
    record = events.FeedbackRecord(id=uuid7(), exchange_id=of, task="address", **fields)
    record.created_at.seconds = at_s
    return record


def pairs(tables: Tables, columns: str = "*") -> list[dict[str, Any]]:
    return tables.connection.query(f"SELECT {columns} FROM shadow_pairs ORDER BY toString(id)")


def test_a_pair_is_one_row_with_both_answers(empty: Tables) -> None:
    empty.load(encode(SHADOWS, a_pair(uuid7(), agreed=True)))
    [row] = pairs(empty)
    told = {name: row[name] for name in row if name.startswith(("teacher", "student"))}
    assert told == {
        "teacher_model": "",
        "teacher_answer": '{"n": 12}',
        "teacher_refusal": "",
        "teacher_latency_us": 900_000,
        "teacher_cost_usd": Decimal("0.03"),
        "student_version": 7,
        "student_answer": '{"n":12}',
        "student_refusal": "grounded: no",
        "student_latency_us": 9_000,
        "student_cost_usd": Decimal("0.000001"),
    }
    assert (row["policy"], row["answered_by"], row["agreed"], row["confidence"]) == ("shadow", "teacher", True, -0.25)
    assert (row["rating"], row["correction"], row["audited"]) == (None, None, False)


def test_a_pair_that_came_twice_is_there_once(empty: Tables) -> None:
    pair = a_pair(uuid7())
    empty.load(encode(SHADOWS, pair))
    empty.load(encode(SHADOWS, pair))
    assert len(pairs(empty)) == 1


def test_whether_free_texts_agree_is_not_told(empty: Tables) -> None:
    empty.load(encode(SHADOWS, a_pair(uuid7())))
    assert pairs(empty, "agreed") == [{"agreed": None}]


def test_the_latest_correction_and_the_latest_rating_stand_beside_it(empty: Tables) -> None:
    of = uuid7()
    empty.load(encode(SHADOWS, a_pair(of)))
    empty.load(
        encode(FEEDBACK, said(of, 10, rating=1.0)),
        encode(FEEDBACK, said(of, 20, rating=-1.0)),
        encode(FEEDBACK, said(of, 30, correction="13 Main St")),
        encode(FEEDBACK, said(uuid7(), 40, rating=0.5)),
    )
    assert pairs(empty, "rating, correction, audited") == [
        {"rating": -1.0, "correction": "13 Main St", "audited": False}
    ]


def test_of_a_call_that_was_drawn_only_those_who_drew_it_say_what_is_right(empty: Tables) -> None:
    of = uuid7()
    empty.load(encode(SHADOWS, a_pair(of)))
    empty.load(
        encode(FEEDBACK, said(of, 10, rating=-1.0, correction="12 Main St")),
        encode(FEEDBACK, said(of, 20, correction="13 Main St", metrics={"audit": 1.0})),
        encode(FEEDBACK, said(of, 30, rating=1.0, correction="999 Wrong Way", metrics={"audit": 0.0, "mine": 1.0})),
    )
    assert pairs(empty, "rating, correction, audited") == [
        {"rating": None, "correction": "13 Main St", "audited": True}
    ]
