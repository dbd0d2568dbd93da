"""An orderly stop of a stack whose broker keeps nothing: who was answered is in ClickHouse, and decisions stay."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deploy.local.options import StackOptions
from deploy.local.parts import ENGINES, SERVICES
from deploy.local.processes import wait_until
from deploy.local.stack import Stack
from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.kafka import Consumer, Follower, Producer, everything, has_read
from services.settings import ClickHouseSettings, KafkaSettings
from services.topics import DEAD_LETTERS, EXCHANGES, PROMOTIONS, SOURCES, Record, encode
from tests.drills.background import background
from tests.drills.calls import Calls
from tests.drills.world import write_task
from tests.services.gateway import openai_like

pytestmark = pytest.mark.contract

BROKER = frozenset({*ENGINES, *SERVICES} - {"broker"})
TRAFFIC = frozenset({*ENGINES, *SERVICES} - {"broker", "clickhouse", "sink", "gateway"})


@contextmanager
def running(options: StackOptions) -> Iterator[Stack]:
    stack = Stack.start(options)
    try:
        yield stack
    finally:
        stack.stop()


def kafka_of(stack: Stack) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap_servers=stack.addresses.kafka)


def held(stack: Stack, topic: str) -> list[Record]:
    with closing(Follower(kafka_of(stack), topic)) as follower:
        follower.start(10)
        return sorted(everything(follower), key=lambda record: (record.partition, record.offset))


@pytest.mark.parametrize("died", ["nobody", "sink", "clickhouse"])
def test_whoever_was_answered_before_the_stop_is_in_clickhouse_after_it(tmp_path: Path, died: str) -> None:
    write_task(tmp_path / "tasks")
    with background() as loop:
        teacher = loop.keep(openai_like.serving())
        own = {"gateway": {"TEACHER_BASE_URL": teacher.url, "TEACHER_API_KEY": openai_like.KEY}}
        options = StackOptions(tmp_path / "state", tmp_path / "tasks", leave_out=TRAFFIC, environment=own)
        with running(options) as stack:
            calls = Calls(stack.addresses.gateway, rate_per_s=100)
            calling = loop.begin(calls.run())
            wait_until(lambda: len(calls.answered) > 100, 30)
            if died != "nobody":
                stack.kill(died)
                wait_until(lambda: len(calls.answered) > 200, 30)
        calls.stopping = True
        calling.result(60)
    with running(StackOptions(tmp_path / "state", leave_out=BROKER - {"clickhouse", "sink"})) as stack:
        assert wait_until(lambda: has_read(kafka_of(stack), "sink", [EXCHANGES.name, SOURCES.name]), 30)
        clickhouse = ClickHouse(ClickHouseSettings(clickhouse_url=stack.addresses.clickhouse_url))
        answered = clickhouse.query("SELECT toString(id) AS id FROM exchanges FINAL WHERE outcome = 'answered'")
        ended = clickhouse.query("SELECT ended, last_sequence FROM sources FINAL ORDER BY at DESC LIMIT 1")
        ids = clickhouse.query("SELECT uniqExact(sequence) AS n FROM ledger")
        clickhouse.close()
    assert len(calls.answered) > 100
    assert calls.answered <= {row["id"] for row in answered}
    assert ended == [{"ended": True, "last_sequence": ids[0]["n"]}]


def test_decisions_and_dead_letters_come_back_once_to_their_places(tmp_path: Path) -> None:
    options = StackOptions(tmp_path, leave_out=BROKER)
    promoted = encode(PROMOTIONS, events.Promotion(id="p", task="t", student_version=3))
    letter = Record(DEAD_LETTERS, b"", b"\xff\x00", {"dead-reason": b"\xfe why"})
    with running(options) as stack:
        producer = Producer(kafka_of(stack))
        for record in (promoted, letter, letter):
            producer.send(record)
        assert producer.flush(10) == 0
        before = {topic: held(stack, topic) for topic in (PROMOTIONS.name, DEAD_LETTERS)}
    with running(options) as stack:
        assert [(one.key, one.value, one.headers) for one in held(stack, PROMOTIONS.name)] == [
            (promoted.key, promoted.value, promoted.headers)
        ]
        after = held(stack, DEAD_LETTERS)
        stack.kill("broker")
    assert [(one.partition, one.offset, one.headers) for one in after] == [
        (one.partition, one.offset, one.headers) for one in before[DEAD_LETTERS]
    ]
    with running(options) as stack:
        assert held(stack, PROMOTIONS.name) == []


def test_a_group_has_read_what_it_has_committed_to_the_last_record(tmp_path: Path) -> None:
    topic = EXCHANGES.name
    with running(StackOptions(tmp_path, leave_out=BROKER)) as stack:
        settings = kafka_of(stack)
        assert has_read(settings, "readers", [topic])
        producer = Producer(settings)
        for number in range(7):
            producer.send(encode(EXCHANGES, events.Exchange(id=str(number))))
        assert producer.flush(10) == 0
        assert not has_read(settings, "readers", [PROMOTIONS.name, topic])
        consumer = Consumer(settings, "readers", [topic])
        found: list[Record] = []
        while len(found) < 7:
            found += consumer.poll(7 - len(found), 0.5)
        last = [record for record in found if record.partition == found[-1].partition]
        consumer.commit([record for record in found if record not in last] + last[:-1])
        assert not has_read(settings, "readers", [topic])
        consumer.commit(last)
        assert has_read(settings, "readers", [topic])
        consumer.close()
