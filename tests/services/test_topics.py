"""Messages to bytes and back."""

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import topics
from services.errors import BadEvent


def exchange(group_key: str = "") -> events.Exchange:
    return events.Exchange(id="an-id", request=inference.Request(task="t", group_key=group_key), sequence=7)


@pytest.mark.parametrize("topic", topics.TOPICS.values(), ids=lambda topic: topic.name)
def test_every_topic_carries_its_message_there_and_back(topic: topics.Topic) -> None:
    assert topics.decode(topics.encode(topic, topic.message())) == topic.message()


def test_the_key_is_the_group_else_the_id() -> None:
    assert topics.encode(topics.EXCHANGES, exchange("customer-1")).key == b"customer-1"
    assert topics.encode(topics.EXCHANGES, exchange()).key == b"an-id"


def test_the_header_names_the_type() -> None:
    headers = topics.encode(topics.EXCHANGES, exchange()).headers
    assert headers["content-type"] == b"application/protobuf; type=tutelage.v1.Exchange"


def test_an_exchange_tells_its_place_in_the_ledger_even_where_its_bytes_are_ruined() -> None:
    record = topics.encode(topics.EXCHANGES, events.Exchange(source="gateway", sequence=7))
    assert topics.position(dataclasses.replace(record, value=b"\xff\xff")) == ("gateway", 7)
    assert topics.position(dataclasses.replace(record, headers={})) == ("gateway", 7)


def test_what_has_no_place_in_the_ledger_has_none() -> None:
    for record in (
        topics.Record("exchanges", b"", b"\xff\xff"),
        topics.Record("exchanges", b"", b"", {"source": b"s", "sequence": b"first"}),
        topics.Record("exchanges", b"", b"", {"sequence": b"1"}),
        topics.encode(topics.EXCHANGES, events.Exchange(id="numberless")),
    ):
        assert topics.position(record) is None


def test_a_record_without_a_header_is_taken_for_its_topics_type() -> None:
    record = dataclasses.replace(topics.encode(topics.EXCHANGES, exchange()), headers={})
    assert topics.decode(record).sequence == 7


def test_another_declared_type_is_a_bad_event() -> None:
    record = topics.encode(topics.EXCHANGES, exchange())
    wrong = dataclasses.replace(record, headers={"content-type": b"application/protobuf; type=tutelage.v1.Run"})
    with pytest.raises(BadEvent, match=r"tutelage\.v1\.Exchange"):
        topics.decode(wrong)


@given(st.binary())
def test_arbitrary_bytes_are_a_message_or_a_bad_event(value: bytes) -> None:
    record = topics.Record("exchanges", b"", value)
    with suppress(BadEvent):
        assert isinstance(topics.decode(record), events.Exchange)


@pytest.mark.parametrize(
    ("topic", "value", "said"),
    [
        ("exchanges", b"\xff" * 1234, "not a tutelage.v1.Exchange: protobuf can't read its 1,234 bytes"),
        ("feedback", b' {"rating": 1}', "protobuf can't read its 14 bytes, which look like JSON"),
        ("requests", b"[1]", "look like JSON; with the header content-type: application/json they would be read as"),
    ],
)
def test_bytes_that_are_no_message_are_told_by_what_they_look_like(topic: str, value: bytes, said: str) -> None:
    with pytest.raises(BadEvent) as bad:
        topics.decode(topics.Record(topic, b"", value))
    assert said in bad.value.reason


def test_a_hollow_letter_knows_who_wrote_it_and_its_bytes_by_their_digest() -> None:
    record = topics.Record("exchanges", b"k", b"\xff" * 99, {"a": b"b", "source": b"s", "sequence": b"7"}, 3, 14)
    left = topics.hollow(topics.dead_letter(record, "too large", "sampler"))
    assert (left.key, left.value) == (b"", b"")
    assert left.headers == {
        "dead-by": b"sampler",
        "dead-topic": b"exchanges",
        "dead-partition": b"3",
        "dead-offset": b"14",
        "dead-reason": b"too large",
        "dead-left-bytes": b"99",
        "dead-left-digest": topics.digest(record.value).encode(),
        "source": b"s",
        "sequence": b"7",
    }


def test_a_dead_letter_keeps_the_bytes_and_says_where_they_came_from() -> None:
    record = topics.Record("exchanges", b"k", b"\xff", {"a": b"b"}, partition=3, offset=14)
    dead = topics.dead_letter(record, "not an exchange", "sink")
    assert (dead.topic, dead.key, dead.value) == ("dead-letters", b"k", b"\xff")
    assert dead.headers == {
        "a": b"b",
        "dead-by": b"sink",
        "dead-topic": b"exchanges",
        "dead-partition": b"3",
        "dead-offset": b"14",
        "dead-reason": b"not an exchange",
    }
