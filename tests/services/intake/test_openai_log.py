"""Requests and logs in OpenAI's shapes."""

import json
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.intake.openai_log import MAX_BYTES, parse_log, parse_request

ID = "0190a0b0-0000-7000-8000-000000000000"
ASKED = {"model": "gpt-4", "messages": [{"role": "user", "content": "12 Main St"}]}
ANSWERED = {
    "id": "chatcmpl-1",
    "model": "gpt-4-0613",
    "created": 1_700_000_000,
    "choices": [{"message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 700, "completion_tokens": 38},
}


def asked(**changes: object) -> dict[str, object]:
    return {"task": "address", **ASKED, **changes}


def test_a_request_says_all_that_openais_says():
    request = parse_request(
        asked(
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "12 "}, {"type": "text", "text": "Main"}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "find"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "ok"},
            ],
            tools=[{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
            temperature=0,
            max_tokens=40,
            stop="\n",
            seed=7,
            user="customer-1",
            metadata={"kind": "register", "try": 2},
            request_id=ID,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            stream=True,
        )
    )
    roles = [inference.ROLE_SYSTEM, inference.ROLE_USER, inference.ROLE_ASSISTANT, inference.ROLE_TOOL]
    assert [message.role for message in request.messages] == roles
    assert request.messages[1].content == "12 Main"
    assert (request.messages[2].tool_calls[0].name, request.messages[3].tool_call_id) == ("find", "c")
    assert json.loads(request.tools[0].parameters) == {"type": "object"}
    assert request.sampling == inference.Sampling(temperature=0, max_tokens=40, stop=["\n"], seed=7)
    assert (request.task, request.request_id, request.group_key) == ("address", ID, "customer-1")
    assert dict(request.metadata) == {"kind": "register", "try": "2"}
    assert json.loads(request.response_schema) == {"type": "object"}


def test_what_is_absent_stays_absent():
    assert not parse_request(asked()).sampling.ListFields()


def test_the_task_may_stand_in_the_model():
    assert parse_request({**ASKED, "model": "tutelage/address"}).task == "address"


def test_an_id_that_is_no_uuid_becomes_one_and_is_kept_as_a_label():
    first, again = (parse_request(asked(id="order-7")) for _ in range(2))
    assert first.request_id == again.request_id == str(uuid.UUID(first.request_id))
    assert first.metadata["producer_id"] == "order-7"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "valid dictionary"),
        (ASKED, "task: is missing"),
        (asked(messages=[]), "messages: "),
        (asked(messages=[{"role": "robot", "content": "x"}]), r"messages\[0\]\.role"),
        (asked(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), r"messages\[0\]\.content"),
        (asked(messages=[{"role": "user", "content": "x"}] * 257), "at most 256"),
        (asked(messages=[{"role": "user", "content": "x" * MAX_BYTES}]), "above the limit"),
        (asked(messages=[{"role": "user", "content": "\ud800"}]), "messages|stored"),
        (asked(temperature=float("nan")), "temperature"),
        (asked(max_tokens=2**40), "max_tokens"),
        (asked(seed=2**64), "seed"),
        (asked(n=3), "n: "),
        (asked(stop=["a"] * 5), "stop"),
        (asked(metadata={"a": {"b": 1}}), "metadata"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(data, reason):
    with pytest.raises(BadEvent, match=reason):
        parse_request(data)


@pytest.mark.parametrize(
    "line",
    [
        {"request": ASKED, "response": ANSWERED},
        {**ASKED, "response": ANSWERED},
        {"custom_id": "r-1", "body": ASKED, "response": {"status_code": 200, "body": ANSWERED}},
        {"request": {"custom_id": "r-1", "body": ASKED}, "response": {"status_code": 200, "body": ANSWERED}},
    ],
)
def test_every_log_shape_becomes_the_same_answered_exchange(line):
    exchange = parse_log(line, "address")
    assert (exchange.request.task, exchange.request.messages[0].content) == ("address", "12 Main St")
    assert (exchange.outcome, exchange.origin) == (events.OUTCOME_ANSWERED, "import")
    assert (exchange.reply.answered_by, exchange.reply.finish) == (inference.BACKEND_TEACHER, inference.FINISH_STOP)
    assert (exchange.reply.message.content, exchange.reply.model) == ("{}", "gpt-4-0613")
    assert exchange.reply.usage == inference.Usage(prompt_tokens=700, completion_tokens=38)
    assert exchange.finished_at.seconds == 1_700_000_000


def test_a_fine_tuning_example_ends_with_its_answer():
    line = {"messages": [*ASKED["messages"], {"role": "assistant", "content": "{}"}]}  # type: ignore[misc]
    exchange = parse_log(line, "address")
    assert len(exchange.request.messages) == 1
    assert (exchange.reply.message.content, exchange.reply.finish) == ("{}", inference.FINISH_STOP)
    assert exchange.HasField("finished_at")


def test_the_answer_may_be_a_plain_text():
    assert parse_log({**ASKED, "response": "spam"}, "label").reply.message.content == "spam"


def test_a_line_imported_twice_is_one_exchange_and_another_line_is_another():
    one, again = (parse_log({"request": ASKED, "response": ANSWERED}, "address") for _ in range(2))
    other = parse_log({**ASKED, "response": "other"}, "address")
    assert one.id == again.id == str(uuid.UUID(one.id))
    assert other.id != one.id


def test_a_uuid_in_the_line_is_the_exchanges_id():
    assert parse_log({"id": ID.upper(), "request": ASKED, "response": ANSWERED}, "address").id == ID


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("text", "not a JSON object but str"),
        ({"response": ANSWERED}, "join a batch's output with its input by custom_id"),
        ({"request": ASKED}, "response"),
        ({"request": ASKED, "response": {"status_code": 429, "body": {}}}, "429 is not 200"),
        ({"request": ASKED, "response": {"choices": []}}, "choices"),
        ({**ASKED, "response": "  "}, "is empty"),
        (ASKED, "messages: a line without response must"),
        ({"messages": ASKED["messages"] * 2}, "must end with the assistant's message"),  # type: ignore[operator]
    ],
)
def test_a_bad_line_is_told_what_is_wrong(line, reason):
    with pytest.raises(BadEvent, match=reason):
        parse_log(line, "address")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
KEYS = st.sampled_from([*asked(), "request", "response", "body", "id", "user", "metadata", "tools", "stop", "seed"])
MOSTLY_RIGHT = st.dictionaries(KEYS, JSON).map(lambda changes: {**asked(), **changes})


@given(JSON | MOSTLY_RIGHT)
def test_no_json_whatever_does_worse_than_a_bad_event(data):
    for parse in (parse_request, lambda line: parse_log(line, "address")):
        with suppress(BadEvent):
            assert parse(data).SerializeToString()


def test_a_request_without_its_response_says_what_is_missing():
    with pytest.raises(BadEvent, match=r"^response: is missing"):
        parse_log({"request": ASKED}, "address")
