"""Every message becomes a row whose columns are those of its table, or a bad event that says why."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from google.protobuf import json_format

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.sink import schema
from services.sink.rows import TABLES, exchange_values, feedback_values, promotion_values, row, run_values
from services.topics import CANDIDATES, PROMOTIONS, RUNS, TOPICS, encode
from tests.services.sink.messages import consumed, exchange, uuid7


def test_every_topic_but_requests_has_a_table() -> None:
    assert set(TABLES) == set(TOPICS) - {"requests"}


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_of_a_row_are_those_of_the_ddl(name: str) -> None:
    sql = "".join(path.read_text() for path in sorted(schema.FILES.glob("*.sql")))
    body = sql.split(f"CREATE TABLE IF NOT EXISTS {name} (")[1].split("\n)\n")[0]
    columns = re.findall(r"^    (\w+) +(?!TYPE)[A-Z]\w+(?!.*(?:DEFAULT|MATERIALIZED))", body, re.MULTILINE)
    assert list(TABLES[name].columns) == [column for column in columns if column not in {"INDEX", "version"}]


def test_an_exchange_becomes_what_people_ask_for() -> None:
    made = exchange()
    values = exchange_values(made)
    assert values["id"] == UUID(made.id)
    assert values["outcome"] == "answered"
    assert values["answered_by"] == "teacher"
    assert values["finish"] == "stop"
    assert values["kind"] == "register"
    assert values["question"] == "12 Main St «é»"
    assert values["answer"] == '{"number":"12"}'
    assert values["cost_usd"] == Decimal("0.00234000")
    assert values["latency_us"] == 1_200_000
    assert values["confidence"] == -0.75
    assert values["refusal"] == "grounded: no"
    assert values["started_at"] == 1_700_000_000_000_000
    assert json_format.Parse(values["request"], inference.Request()) == made.request
    assert [attempt["backend"] for attempt in json.loads(values["attempts"])] == ["BACKEND_STUDENT", "BACKEND_TEACHER"]


def test_what_the_row_says_of_the_answer_is_not_said_again_among_its_attempts() -> None:
    made = exchange()
    for attempt in made.attempts:
        attempt.message.content = '{"number":"12"}'
    refused, kept = json.loads(exchange_values(made)["attempts"])
    assert refused["message"]["content"] == '{"number":"12"}'
    assert kept == {"backend": "BACKEND_TEACHER", "cost_usd": "0.00234000"}


def test_the_row_ends_with_where_it_was_read() -> None:
    assert row(consumed(exchange(), offset=7, partition=3))[-2:] == (3, 7)


def test_a_failed_exchange_still_shows_its_time_and_what_it_cost() -> None:
    made = exchange(error="no backend answered")
    made.ClearField("reply")
    made.outcome = events.OUTCOME_FAILED
    values = exchange_values(made)
    assert (values["outcome"], values["answered_by"], values["finish"]) == ("failed", "", "")
    assert values["latency_us"] == 1_200_000
    assert values["cost_usd"] == Decimal("0.00234")
    assert values["confidence"] == -0.75


def test_an_answer_of_tool_calls_is_kept_as_text() -> None:
    made = exchange()
    made.reply.message.tool_calls.add(name="look_up", arguments="{}")
    assert json.loads(exchange_values(made)["answer"])["tool_calls"][0]["name"] == "look_up"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"id": "not-a-uuid"}, "id is 'not-a-uuid'"), ({"reply": inference.Reply(cost_usd="cheap")}, "not a number")],
)
def test_what_the_table_cannot_hold_is_a_bad_event(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadEvent, match=reason):
        row(consumed(exchange(**fields)))


def test_bytes_that_are_no_message_are_a_bad_event() -> None:
    with pytest.raises(BadEvent, match="not a tutelage"):
        row(replace(consumed(exchange()), value=b"\xff\xff\xff"))


def test_an_outcome_that_only_a_newer_gateway_knows_is_kept_as_its_number() -> None:
    newer = exchange().SerializeToString() + bytes([6 << 3, 99])
    assert exchange_values(events.Exchange.FromString(newer))["outcome"] == "99"


def test_feedback_tells_no_rating_from_a_rating_of_zero() -> None:
    record = events.FeedbackRecord(id=uuid7(), exchange_id=uuid7(), metrics={"seconds": 1.5})
    assert feedback_values(record)["rating"] is None
    assert feedback_values(record)["correction"] is None
    assert feedback_values(record)["metrics"] == {"seconds": 1.5}
    record.rating, record.correction = 0, ""
    assert (feedback_values(record)["rating"], feedback_values(record)["correction"]) == (0.0, "")


def test_feedback_on_no_exchange_is_a_bad_event() -> None:
    with pytest.raises(BadEvent, match="exchange_id is ''"):
        feedback_values(events.FeedbackRecord(id=uuid7()))


def test_candidates_runs_and_promotions_have_rows_too() -> None:
    candidate = events.Candidate(id=uuid7(), split=events.SPLIT_TRAIN, excluded=True)
    assert dict(zip(TABLES["candidates"].columns, row(encode(CANDIDATES, candidate)), strict=True))["split"] == "train"
    assert run_values(events.Run(state=events.RUN_STATE_DONE))["state"] == "done"
    promotion = events.Promotion(policy=events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY))
    assert promotion_values(promotion)["policy"] == "teacher_only"
    assert len(row(encode(RUNS, events.Run()))) == len(TABLES["runs"].columns)
    assert len(row(encode(PROMOTIONS, promotion))) == len(TABLES["promotions"].columns)
