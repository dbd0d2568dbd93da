"""A newer producer with older consumers: what they do not know passes through them, what they know stays whole."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.cli.watch import line
from services.intake.reading import read
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.sampler.sampling import NOTHING, Verdict, decide
from services.sink.rows import TABLES
from services.topics import EXCHANGES, REQUESTS, TOPICS, Record, decode, encode
from tests.evolution.newer import NEW_VALUE, as_newer, unknown
from tests.evolution.published import PLACED, filled
from tests.fixtures.tables import Tables
from tests.services.sampler.makers import a_task, an_exchange, feedback
from tests.services.sink.messages import exchange


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, data: "int | float | bytes") -> bytes:
    """One field in protobuf's wire format, whose kind follows from the data."""
    match data:
        case int():
            return varint(number << 3) + varint(data)
        case float():
            return varint(number << 3 | 1) + struct.pack("<d", data)
        case _:
            return varint(number << 3 | 2) + varint(len(data)) + data


FREE_NUMBERS = st.integers(100, 2**29 - 1).filter(lambda number: not 19_000 <= number < 20_000)
UNKNOWN = st.lists(
    st.tuples(FREE_NUMBERS, st.one_of(st.integers(0, 2**64 - 1), st.floats(), st.binary(max_size=40))), max_size=5
)


def bytes_of(fields: list[tuple[int, Any]]) -> bytes:
    return b"".join(field(number, data) for number, data in fields)


def joiner() -> Joiner:
    return Joiner({"address": a_task()}, Memory({}, 100, 1000.0))


@given(of_request=UNKNOWN, of_message=UNKNOWN, of_reply=UNKNOWN)
def test_what_the_sampler_does_not_know_of_a_request_reaches_the_candidate(
    of_request: list[tuple[int, Any]], of_message: list[tuple[int, Any]], of_reply: list[tuple[int, Any]]
) -> None:
    made = an_exchange()
    made.request.messages[0].MergeFromString(bytes_of(of_message))
    made.request.MergeFromString(bytes_of(of_request))
    made.reply.MergeFromString(bytes_of(of_reply))
    taken = decode(encode(EXCHANGES, made))
    [candidate] = joiner().take(taken, partition=0, now_s=1.0)
    passed = events.Candidate.FromString(candidate.SerializeToString()).request
    assert passed.SerializeToString(deterministic=True) == made.request.SerializeToString(deterministic=True)
    assert len(unknown(passed)) == len(of_request)
    assert len(unknown(passed.messages[0])) == len(of_message)


def test_it_also_survives_the_samplers_memory_until_a_rating_comes_later() -> None:
    newer = as_newer(an_exchange())
    newer.request.tomorrows = newer.request.messages[0].tomorrows = "tomorrow's"
    joins = joiner()
    [first] = joins.take(events.Exchange.FromString(newer.SerializeToString()), 0, 1.0)
    [second] = joins.take(feedback(rating=-1.0), 0, 2.0)
    assert second.excluded
    for candidate in (first, second):
        request = as_newer(candidate).request
        assert (request.tomorrows, request.messages[0].tomorrows) == ("tomorrow's", "tomorrow's")


@given(fields=UNKNOWN)
def test_intake_passes_on_what_it_does_not_know_of_a_request(fields: list[tuple[int, Any]]) -> None:
    request = inference.Request(task="address", request_id="0190a0b0-0000-7000-8000-000000000000")
    record = encode(REQUESTS, request)
    sent = Record(record.topic, record.key, record.value + bytes_of(fields), record.headers)
    assert read(sent, 10_000).SerializeToString() == inference.Request.FromString(sent.value).SerializeToString()
    assert len(unknown(read(sent, 10_000))) == len(fields)


@pytest.mark.contract
@given(unknowns=st.lists(st.tuples(UNKNOWN, UNKNOWN), min_size=5, max_size=20))
@settings(max_examples=10, deadline=None)
def test_an_older_sink_stores_all_that_it_knows_of_a_newer_exchange(
    tables: Tables, unknowns: list[tuple[list[tuple[int, Any]], list[tuple[int, Any]]]]
) -> None:
    made = [exchange() for _ in unknowns]
    known = tables.rows(*(encode(EXCHANGES, one) for one in made))
    newer = []
    for one, (fields, inner) in zip(made, unknowns, strict=True):
        one.request.MergeFromString(bytes_of(inner))
        one.reply.message.MergeFromString(bytes_of(inner))
        record = encode(EXCHANGES, one)
        newer.append(Record(record.topic, record.key, record.value + bytes_of(fields), record.headers))
    assert tables.rows(*newer) == known


@pytest.mark.contract
def test_a_value_that_only_a_newer_gateway_knows_is_stored_as_its_number_beside_the_rest(tables: Tables) -> None:
    newer = as_newer(exchange())
    newer.outcome = newer.reply.answered_by = newer.reply.finish = newer.request.messages[0].role = NEW_VALUE
    values = tables.row(Record("exchanges", b"", newer.SerializeToString()))
    told = {name: values[name] for name in ("outcome", "answered_by", "finish", "question", "model")}
    number = str(NEW_VALUE)
    rest = {"question": "12 Main St «é»", "model": "gpt-4"}
    assert told == {"outcome": number, "answered_by": number, "finish": number, **rest}
    assert json.loads(values["request"])["messages"][0]["role"] == NEW_VALUE


@pytest.mark.parametrize("changed", ["outcome", "finish", "answered_by", "role"])
def test_a_value_that_only_a_newer_gateway_knows_stops_neither_the_sampler_nor_tail(changed: str) -> None:
    newer = as_newer(an_exchange())
    where = {"outcome": newer, "role": newer.request.messages[0]}.get(changed, newer.reply)
    setattr(where, changed, NEW_VALUE)
    newer = EXCHANGES.message.FromString(newer.SerializeToString())
    decided = decide(a_task(), newer, NOTHING)
    assert decided.verdict in Verdict
    assert newer.request.task in line(newer)
    if changed in {"outcome", "finish"}:
        assert str(NEW_VALUE) in decided.reason
    newer.ClearField("reply")
    assert newer.request.task in line(newer)


@pytest.mark.contract
@pytest.mark.parametrize("topic", sorted(TABLES))
def test_a_newer_message_has_the_row_that_it_had(tables: Tables, topic: str) -> None:
    today = filled(TOPICS[topic].message.DESCRIPTOR)
    today.MergeFromString(PLACED.get(topic, b""))
    newer = as_newer(today)
    newer.tomorrows = "new"
    record = Record(topic, b"", newer.SerializeToString())
    assert tables.row(record) == tables.row(Record(topic, b"", today.SerializeToString()))
