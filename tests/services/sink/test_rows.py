"""Every message becomes a row whose columns are those of its table."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from google.protobuf import json_format

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sink import schema
from services.sink.rows import TABLES
from services.topics import CANDIDATES, FEEDBACK, PROMOTIONS, RUNS, SOURCES, TOPICS, encode
from tests.evolution.published import PLACED, filled
from tests.fixtures.tables import Tables
from tests.services.sink.messages import consumed, exchange, uuid7


def test_every_topic_but_requests_and_what_gateways_tell_one_another_has_a_table() -> None:
    assert set(TABLES) == set(TOPICS) - {"requests", "key-usage"}


def test_no_digest_of_a_key_reaches_a_table() -> None:
    assert "digest" not in TABLES["keys"].columns


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_of_a_row_are_those_of_the_ddl(name: str) -> None:
    sql = "".join(path.read_text() for path in sorted(schema.FILES.glob("*.sql")))
    body = sql.split(f"CREATE TABLE IF NOT EXISTS {name} (")[1].split("\n)\n")[0]
    columns = re.findall(r"^    (\w+) +(?!TYPE)[A-Z]\w+(?!.*(?:DEFAULT|MATERIALIZED))", body, re.MULTILINE)
    for added, before in re.findall(rf"^ALTER TABLE {name} ADD COLUMN IF NOT EXISTS (\w+) .* AFTER (\w+);$", sql, re.M):
        columns.insert(columns.index(before) + 1, added)
    assert list(TABLES[name].columns) == [column for column in columns if column not in {"INDEX", "version"}]


@pytest.mark.contract
def test_an_exchange_becomes_what_people_ask_for(tables: Tables) -> None:
    made = exchange()
    values = tables.row(consumed(made))
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
    assert values["metadata"] == {"kind": "register"}
    assert values["started_at"].replace(tzinfo=UTC) == datetime.fromtimestamp(1_700_000_000, UTC)
    assert json_format.Parse(values["request"], inference.Request()) == made.request
    assert [attempt["backend"] for attempt in json.loads(values["attempts"])] == ["BACKEND_STUDENT", "BACKEND_TEACHER"]


@pytest.mark.contract
@pytest.mark.parametrize("topic", TABLES)
def test_a_message_that_says_everything_leaves_no_column_empty(tables: Tables, topic: str) -> None:
    record = encode(TOPICS[topic], filled(TOPICS[topic].message.DESCRIPTOR))
    values = tables.row(replace(record, value=record.value + PLACED.get(topic, b""), partition=3))
    silent = {"question", "refusal"}  # The last role that there is is not the user's, and the only attempt is a shadow.
    assert {name for name, value in values.items() if not value} - silent == {"kafka_offset"}


@pytest.mark.contract
def test_an_exchange_of_nothing_but_its_id_is_a_row_too(tables: Tables) -> None:
    values = tables.row(consumed(events.Exchange(id=uuid7())))
    told = {name: value for name, value in values.items() if value and name not in {"id", "kafka_partition"}}
    at = datetime.fromtimestamp(0, UTC).replace(tzinfo=values["started_at"].tzinfo)
    assert told == {"request": "{}", "attempts": "[]", "started_at": at, "finished_at": at}
    assert values["confidence"] is None


@pytest.mark.contract
def test_a_row_tells_how_the_exchange_ended_and_each_attempt_of_it(tables: Tables) -> None:
    made = exchange(end=inference.END_TRUNCATED, key_id="k1")
    made.attempts[0].end, made.attempts[1].end = inference.END_REPLACED, inference.END_TRUNCATED
    values = tables.row(consumed(made))
    assert (values["end"], values["cached"], values["key_id"]) == ("truncated", False, "k1")
    assert [attempt["end"] for attempt in json.loads(values["attempts"])] == ["END_REPLACED", "END_TRUNCATED"]


@pytest.mark.contract
def test_what_became_of_a_shadow_is_no_refusal_of_the_exchange(tables: Tables) -> None:
    made = exchange()
    made.attempts[0].shadow = True
    assert tables.row(consumed(made))["refusal"] == ""


@pytest.mark.contract
def test_what_the_row_says_of_the_answer_is_not_said_again_among_its_attempts(tables: Tables) -> None:
    made = exchange()
    for attempt in made.attempts:
        attempt.message.content, attempt.model = '{"number":"12"}', "m"
    refused, kept = json.loads(tables.row(consumed(made))["attempts"])
    assert (refused["message"]["content"], refused["model"]) == ('{"number":"12"}', "m")
    assert kept == {"backend": "BACKEND_TEACHER", "cost_usd": "0.00234000"}


@pytest.mark.contract
def test_the_row_ends_with_where_it_was_read_whatever_the_message_says(tables: Tables) -> None:
    record = consumed(exchange(), partition=3)
    elsewhere = b"\xfd\xff\xff\xff\x0f\x09\x00\x00\x00" + b"\xf1\xff\xff\xff\x0f" + b"\x09" + bytes(7)
    for value in (record.value, record.value + elsewhere):
        assert list(tables.row(replace(record, value=value)).values())[-2:] == [3, 0]


@pytest.mark.contract
def test_a_failed_exchange_still_shows_its_time_and_what_it_cost(tables: Tables) -> None:
    made = exchange(error="no backend answered")
    made.ClearField("reply")
    made.attempts[0].cost_usd = "0.00001"
    made.outcome = events.OUTCOME_FAILED
    values = tables.row(consumed(made))
    assert (values["outcome"], values["answered_by"], values["finish"]) == ("failed", "", "")
    assert values["latency_us"] == 1_200_000
    assert values["cost_usd"] == Decimal("0.00235")
    assert values["confidence"] == -0.75


@pytest.mark.contract
def test_the_cost_of_an_attempt_does_not_matter_where_the_reply_tells_that_of_all(tables: Tables) -> None:
    made = exchange()
    made.attempts[0].cost_usd = "cheap"
    assert tables.row(consumed(made))["cost_usd"] == Decimal("0.00234")


@pytest.mark.contract
def test_one_of_two_times_stands_for_both_and_a_clock_that_went_back_makes_no_negative_latency(tables: Tables) -> None:
    first, second = exchange(), exchange()
    first.ClearField("finished_at")
    second.started_at.seconds += 60
    second.reply.ClearField("timings")
    one, other = tables.rows(consumed(first), consumed(second))
    assert one["finished_at"] == one["started_at"]
    assert other["latency_us"] == 0


@pytest.mark.contract
def test_an_answer_of_tool_calls_is_kept_as_text(tables: Tables) -> None:
    made = exchange()
    made.reply.message.tool_calls.add(name='look "up"', arguments="{}")
    told = json.loads(tables.row(consumed(made))["answer"])
    assert told == {"tool_calls": [{"name": 'look "up"', "arguments": "{}"}]}


@pytest.mark.contract
def test_the_question_is_the_last_that_the_user_said(tables: Tables) -> None:
    made = exchange()
    made.request.messages.add(role=inference.ROLE_USER, content="and now?")
    made.request.messages.add(role=inference.ROLE_ASSISTANT, content="well")
    assert tables.row(consumed(made))["question"] == "and now?"


@pytest.mark.contract
def test_an_outcome_that_only_a_newer_gateway_knows_is_kept_as_its_number(tables: Tables) -> None:
    record = consumed(exchange())
    assert tables.row(replace(record, value=record.value + bytes([6 << 3, 99])))["outcome"] == "99"


@pytest.mark.contract
def test_feedback_tells_no_rating_from_a_rating_of_zero(tables: Tables) -> None:
    record = events.FeedbackRecord(id=uuid7(), exchange_id=uuid7(), metrics={"seconds": 1.5})
    values = tables.row(encode(FEEDBACK, record))
    assert values["rating"] is None
    assert values["correction"] is None
    assert values["metrics"] == {"seconds": 1.5}
    record.rating, record.correction = 0, ""
    values = tables.row(encode(FEEDBACK, record))
    assert (values["rating"], values["correction"]) == (0.0, "")


@pytest.mark.contract
def test_candidates_runs_promotions_and_sources_have_rows_too(tables: Tables) -> None:
    candidate = events.Candidate(id=uuid7(), split=events.SPLIT_TRAIN, excluded=True, request=exchange().request)
    values = tables.row(encode(CANDIDATES, candidate))
    assert (values["split"], values["excluded"], values["question"]) == ("train", True, "12 Main St «é»")
    assert tables.row(encode(RUNS, events.Run(id="r", state=events.RUN_STATE_DONE)))["state"] == "done"
    promotion = events.Promotion(id="p", policy=events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY, share=0.5))
    values = tables.row(encode(PROMOTIONS, promotion))
    assert (values["policy"], values["share"], values["previous_policy"]) == ("teacher_only", 0.5, "")
    state = events.SourceState(source="s", last_sequence=2**40, ended=True)
    values = tables.row(encode(SOURCES, state))
    assert (values["source"], values["last_sequence"], values["ended"]) == ("s", 2**40, True)
