"""A dead letter that Kafka itself refuses leaves its bytes where they lay."""

import pytest

from services.topics import DEAD_LETTERS, LEFT_BYTES, Record, dead_letter
from tests.fakes.kafka import FakeBroker, FakeProducer

LETTER = dead_letter(Record("exchanges", b"k", b"poison", partition=2, offset=7), "why", "sink")


def test_what_the_broker_refuses_for_its_size_is_buried_hollow_before_the_flush_ends() -> None:
    broker, answers = FakeBroker(refuse=lambda record: "too large" if record.value else ""), list[str]()
    producer = FakeProducer(broker)
    producer.bury(LETTER, answers.append)
    assert producer.flush(1) == 0
    [left] = broker.records(DEAD_LETTERS)
    assert (left.value, left.headers[LEFT_BYTES], left.headers["dead-offset"]) == (b"", b"6", b"7")
    assert answers == [""]


def test_what_is_refused_even_so_stops_the_process_before_its_commit() -> None:
    producer = FakeProducer(FakeBroker(refuse=lambda _record: "never"))
    producer.bury(LETTER)
    with pytest.raises(RuntimeError, match="Kafka refuses a dead letter: never"):
        producer.flush(1)
