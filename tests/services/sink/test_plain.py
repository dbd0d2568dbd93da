"""The fast JSON says what protobuf's own does, of whatever message."""

import json as standard
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sink.plain import json, plain
from tests.services.sink.messages import exchange

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
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


def messages(made: Callable[..., Message], kind: Descriptor) -> st.SearchStrategy[Message]:
    return fields(kind).map(lambda given: made(**given))


def as_protobuf_says(message: Message) -> Any:
    return standard.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))


@given(messages(inference.Request, inference.Request.DESCRIPTOR))
def test_a_request_is_told_as_protobuf_tells_it(request_: inference.Request) -> None:
    assert standard.loads(json(plain(request_))) == as_protobuf_says(request_)


@given(messages(events.Attempt, events.Attempt.DESCRIPTOR))
def test_an_attempt_is_told_as_protobuf_tells_it(attempt: events.Attempt) -> None:
    assert standard.loads(json(plain(attempt))) == as_protobuf_says(attempt)


def test_a_time_is_told_as_protobuf_tells_it() -> None:
    assert plain(exchange())["started_at"] == "2023-11-14T22:13:20Z"


def test_fields_can_be_left_out() -> None:
    told = plain(exchange().attempts[0], {"refusal"})
    assert "refusal" not in told
    assert told["backend"] == "BACKEND_STUDENT"
