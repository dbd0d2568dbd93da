"""The JSON that ClickHouse makes says what protobuf's own does, of whatever message."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from tests.fixtures.tables import Tables
from tests.services.sink.messages import consumed, exchange

pytestmark = pytest.mark.contract

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    # Of a subnormal number protobuf writes six digits, ClickHouse as few as are that number.
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_STRING: st.text(max_size=5),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 20),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return NUMBERS[field.cpp_type]
    return st.deferred(lambda: fields(field.message_type))


def fields(kind: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    """Some of a message's fields, as its constructor takes them."""
    return st.fixed_dictionaries({}, optional={field.name: of_field(field) for field in kind.fields})


def of_field(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        return st.dictionaries(values(entry["key"]), values(entry["value"]), max_size=2)
    return st.lists(values(field), max_size=2) if field.is_repeated else values(field)


def messages(made: Callable[..., Message], kind: Descriptor) -> st.SearchStrategy[list[Message]]:
    return st.lists(fields(kind).map(lambda given: made(**given)), min_size=1, max_size=20)


def read(text: str) -> Any:
    """A JSON's numbers have no type: one writes 10000000000000000, the other 1e+16."""
    return json.loads(text, parse_int=float)


def as_protobuf_says(message: Message) -> Any:
    told = read(json_format.MessageToJson(message, preserving_proto_field_name=True))
    return without_empty_messages(told)


def without_empty_messages(told: Any) -> Any:
    """A message inside of which nothing is set is left out."""
    if isinstance(told, list):
        return [without_empty_messages(one) for one in told]
    if not isinstance(told, dict):
        return told
    return {name: value for name, one in told.items() if (value := without_empty_messages(one)) != {}}


ON_THE_ENGINE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(requests=messages(inference.Request, inference.Request.DESCRIPTOR))
@ON_THE_ENGINE
def test_a_request_is_told_as_protobuf_tells_it(tables: Tables, requests: list[inference.Request]) -> None:
    made = [exchange() for _ in requests]
    for one, request in zip(made, requests, strict=True):
        one.request.CopyFrom(request)
    told = [read(row["request"]) for row in tables.rows(*map(consumed, made))]
    assert told == [as_protobuf_says(request) for request in requests]


@given(attempts=messages(events.Attempt, events.Attempt.DESCRIPTOR))
@ON_THE_ENGINE
def test_an_attempt_that_gave_no_answer_is_told_as_protobuf_tells_it(
    tables: Tables, attempts: list[events.Attempt]
) -> None:
    made = exchange(attempts=attempts)
    del made.attempts[:2]
    made.reply.answered_by = 99  # type: ignore[assignment]
    told = read(tables.row(consumed(made))["attempts"])
    assert told == [as_protobuf_says(attempt) for attempt in attempts]


def test_numbers_that_are_none_are_null_and_can_still_be_read(tables: Tables) -> None:
    made = exchange()
    made.request.sampling.temperature, made.request.sampling.top_p = float("nan"), float("inf")
    text = tables.row(consumed(made))["request"]
    assert json.loads(text)["sampling"] == {"temperature": None, "top_p": None}
    assert not json_format.Parse(text, inference.Request()).sampling.HasField("temperature")
