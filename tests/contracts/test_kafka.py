"""What services.kafka promises, asked of a broker and of its fake."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest
import uuid_utils

from deploy.local import broker
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from services.errors import Overloaded
from services.kafka import MAX_MESSAGE_BYTES, Consumer, Follower, Producer, create_topics
from services.settings import KafkaSettings
from services.topics import TOPICS, Record, dead_letter
from tests.fakes.kafka import FakeBroker, FakeConsumer, FakeFollower, FakeProducer
from tests.fixtures.engines import accepting, started


class Kafka(Protocol):
    def producer(self) -> Producer: ...

    def consumer(self, group: str, topic: str, on_revoke: Callable[[], None] = ...) -> Consumer: ...

    def follower(self, topic: str, from_end: bool = ...) -> Follower: ...


def nothing() -> None:
    pass


@dataclass
class Fake:
    broker: FakeBroker = field(default_factory=lambda: FakeBroker(partitions=3))

    def producer(self) -> Producer:
        return FakeProducer(self.broker)

    def consumer(self, group: str, topic: str, on_revoke: Callable[[], None] = nothing) -> Consumer:
        return FakeConsumer(self.broker, group, [topic], on_revoke)

    def follower(self, topic: str, from_end: bool = False) -> Follower:
        return FakeFollower(self.broker, topic, from_end)


@dataclass
class Real:
    settings: KafkaSettings

    def producer(self) -> Producer:
        return Producer(self.settings)

    def consumer(self, group: str, topic: str, on_revoke: Callable[[], None] = nothing) -> Consumer:
        return Consumer(self.settings, group, [topic], on_revoke)

    def follower(self, topic: str, from_end: bool = False) -> Follower:
        return Follower(self.settings, topic, from_end)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.contract)])
def kafka(request: pytest.FixtureRequest) -> Kafka:
    if request.param == "fake":
        return Fake()
    return Real(KafkaSettings(kafka_bootstrap_servers=request.getfixturevalue("tansu")))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.contract)])
def away(request: pytest.FixtureRequest) -> Kafka:
    if request.param == "fake":
        return Fake(FakeBroker(away=True))
    return Real(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1"))


@pytest.fixture
def topic() -> str:
    return f"topic-{uuid_utils.uuid7()}"


@pytest.fixture
def group() -> str:
    return f"group-{uuid_utils.uuid7()}"


def sent(kafka: Kafka, topic: str, *values: bytes, key: bytes = b"key") -> None:
    producer = kafka.producer()
    refusals: list[str] = []
    for value in values:
        producer.send(Record(topic, key, value, {"a": b"1", "b": b"\xff"}), refusals.append)
    assert producer.flush(10) == 0
    assert refusals == [""] * len(values)


def read(consumer: Consumer | Follower, count: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < count:
        records += consumer.poll(count - len(records), 0.5)
    return records


def test_what_is_acknowledged_is_read_back_whole_and_in_order(kafka: Kafka, topic: str, group: str) -> None:
    sent(kafka, topic, b"1", b"2", b"3")
    consumer = kafka.consumer(group, topic)
    records = read(consumer, 3)
    assert [(r.topic, r.key, r.value, dict(r.headers)) for r in records] == [
        (topic, b"key", value, {"a": b"1", "b": b"\xff"}) for value in (b"1", b"2", b"3")
    ]
    assert [record.offset for record in records] == [0, 1, 2]
    assert {(record.topic, record.partition) for record in records} <= consumer.owned()
    consumer.close()


def test_a_group_goes_on_behind_its_commit_and_reads_the_rest_again(kafka: Kafka, topic: str, group: str) -> None:
    sent(kafka, topic, b"1", b"2", b"3")
    first = kafka.consumer(group, topic)
    first.commit(read(first, 3)[:2])
    first.close()
    second = kafka.consumer(group, topic)
    assert [record.value for record in read(second, 1)] == [b"3"]
    second.close()


def test_a_member_is_told_before_its_partitions_go(kafka: Kafka, topic: str, group: str) -> None:
    sent(kafka, topic, b"1")
    told: list[str] = []
    consumer = kafka.consumer(group, topic, lambda: told.append("told"))
    read(consumer, 1)
    assert not told
    consumer.close()
    assert told == ["told"]


def test_a_second_member_takes_a_share_and_nothing_is_left_out(kafka: Kafka, topic: str, group: str) -> None:
    for key in range(20):
        sent(kafka, topic, b"%d" % key, key=b"%d" % key)
    first, second = kafka.consumer(group, topic), kafka.consumer(group, topic)
    seen: set[bytes] = set()
    while len(seen) < 20 or not (first.owned() and second.owned()):
        for member in (first, second):
            records = member.poll(100, 0.2)
            member.commit(records)
            seen |= {record.value for record in records}
    assert not first.owned() & second.owned()
    first.close()
    second.close()


def test_a_paused_member_reads_nothing_until_it_resumes(kafka: Kafka, topic: str, group: str) -> None:
    sent(kafka, topic, b"1")
    consumer = kafka.consumer(group, topic)
    read(consumer, 1)
    consumer.pause()
    sent(kafka, topic, b"2")
    assert consumer.poll(10, 0.5) == []
    consumer.resume()
    assert [record.value for record in read(consumer, 1)] == [b"2"]
    consumer.close()


def test_a_follower_reads_from_the_beginning_and_knows_when_it_has_read_all(kafka: Kafka, topic: str) -> None:
    sent(kafka, topic, b"1", b"2")
    follower = kafka.follower(topic)
    follower.start(5)
    assert not follower.caught_up()
    records: list[Record] = []
    while not follower.caught_up():
        records += follower.poll(10, 0.2)
    assert [record.value for record in records] == [b"1", b"2"]
    sent(kafka, topic, b"3")
    assert [record.value for record in read(follower, 1)] == [b"3"]
    follower.close()


@pytest.mark.contract
def test_a_record_tells_when_it_was_produced(tansu: str, topic: str) -> None:
    kafka = Real(KafkaSettings(kafka_bootstrap_servers=tansu))
    sent(kafka, topic, b"1")
    follower = kafka.follower(topic)
    follower.start(5)
    assert abs(read(follower, 1)[0].timestamp_ms / 1000 - time.time()) < 300
    follower.close()


def test_a_follower_from_the_end_reads_only_what_comes(kafka: Kafka, topic: str) -> None:
    sent(kafka, topic, b"old")
    sent(kafka, topic, b"as old", b"in the same batch", b"which is the last")
    follower = kafka.follower(topic, from_end=True)
    follower.start(5)
    while not follower.caught_up():
        assert follower.poll(10, 0.2) == []
    sent(kafka, topic, b"new")
    assert [record.value for record in read(follower, 1)] == [b"new"]
    follower.close()


def test_a_follower_can_begin_at_an_offset_of_one_partition(kafka: Kafka, topic: str) -> None:
    sent(kafka, topic, b"1", b"2", b"3")
    everything = kafka.follower(topic)
    everything.start(5)
    second = read(everything, 3)[1]
    follower = kafka.follower(topic)
    follower.start(5, {second.partition: second.offset})
    assert [record.value for record in read(follower, 2)] == [b"2", b"3"]
    assert follower.first_kept(5) == {second.partition: 0}
    for one in (everything, follower):
        one.close()


def test_a_partition_that_is_not_there_is_overloaded_for_a_follower(kafka: Kafka, topic: str) -> None:
    sent(kafka, topic, b"1")
    follower = kafka.follower(topic)
    with pytest.raises(Overloaded, match="has no partition 99"):
        follower.start(5, {99: 0})
    follower.close()


def test_a_topic_that_is_not_there_is_overloaded_for_a_follower(kafka: Kafka, topic: str) -> None:
    follower = kafka.follower(topic)
    with pytest.raises(Overloaded, match="does not exist yet"):
        follower.start(5)
    follower.close()


def test_a_record_that_is_too_large_is_refused_for_good_and_stops_no_other(kafka: Kafka, topic: str) -> None:
    producer = kafka.producer()
    answers: list[str] = []
    for value in (b"1", bytes(MAX_MESSAGE_BYTES + 1), b"2"):
        producer.send(Record(topic, b"k", value), answers.append)
    assert producer.flush(10) == 0
    assert sorted(answers)[:2] == ["", ""]
    assert "too large" in sorted(answers)[2]


def test_a_dead_letter_that_is_too_large_leaves_its_bytes_and_says_where(kafka: Kafka) -> None:
    producer = kafka.producer()
    answers: list[str] = []
    for number, size in enumerate((5, MAX_MESSAGE_BYTES, 7)):
        record = Record("a-topic", b"k", bytes(size), partition=0, offset=number)
        producer.bury(dead_letter(record, "why", "a-service"), answers.append)
    assert producer.flush(10) == 0
    assert answers == ["", "", ""]


def test_without_a_broker_records_wait_and_followers_say_so(away: Kafka, topic: str) -> None:
    producer = away.producer()
    answers: list[str] = []
    producer.send(Record(topic, b"k", b"v"), answers.append)
    assert producer.flush(0.3) == 1
    assert not answers
    follower = away.follower(topic)
    with pytest.raises(Overloaded, match="does not answer"):
        follower.start(0.3)
    follower.close()


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A broker for one test alone: its address and its pid."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    part = Part("broker", tuple(broker.command(port)), accepting(address))
    with started(part, tmp_path_factory.mktemp("broker") / "log") as running:
        yield address, running.identity.pid


@pytest.mark.contract
def test_what_is_sent_while_the_broker_hangs_arrives_in_order_when_it_is_back(own_broker: tuple[str, int]) -> None:
    address, pid = own_broker
    kafka = Real(KafkaSettings(kafka_bootstrap_servers=address))
    sent(kafka, "things", b"0")
    producer = kafka.producer()
    os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(1, 100):
            producer.send(Record("things", b"key", b"%d" % n))
        assert producer.flush(1) == 99
    finally:
        os.kill(pid, signal.SIGCONT)
    assert producer.flush(30) == 0
    consumer = kafka.consumer("group", "things")
    assert [record.value for record in read(consumer, 100)] == [b"%d" % n for n in range(100)]
    consumer.close()


@pytest.mark.contract
def test_topics_are_made_once(tansu: str) -> None:
    settings = KafkaSettings(kafka_bootstrap_servers=tansu)
    for _ in range(2):
        create_topics(settings, partitions=2)
    for name in TOPICS:
        follower = Follower(settings, name)
        follower.start(5)
        follower.close()
