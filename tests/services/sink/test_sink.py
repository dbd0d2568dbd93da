"""The sink itself between a real broker and the real ClickHouse engine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import uuid_utils

from deploy.local import broker, ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from deploy.local.parts import clickhouse_command
from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.errors import Overloaded
from services.kafka import Follower, Producer, create_topics
from services.settings import ClickHouseSettings, KafkaSettings
from services.sink.checks import LAST_SEQUENCE
from services.topics import CANDIDATES, EXCHANGES, FEEDBACK, PROMOTIONS, RUNS, SOURCES, Record, encode
from tests.fixtures.engines import accepting, started
from tests.services.sink.messages import exchange, uuid7

pytestmark = pytest.mark.contract

AUDIT = """
SELECT source, max(sequence) AS last, max(sequence) - uniqExact(sequence) AS missing
FROM ledger GROUP BY source ORDER BY source
"""


@dataclass
class Stack:
    """A broker of the test's own, and a database of its own."""

    kafka: KafkaSettings
    clickhouse: ClickHouseSettings

    def put(self, *records: Record) -> None:
        producer = Producer(self.kafka)
        for record in records:
            producer.send(record)
        assert producer.flush(30) == 0

    def rows(self, sql: str) -> list[dict[str, object]]:
        connection = ClickHouse(self.clickhouse)
        try:
            return connection.query(sql)
        finally:
            connection.close()

    def do(self, sql: str) -> None:
        connection = ClickHouse(self.clickhouse)
        connection.command(sql)
        connection.close()

    def until(self, sql: str, value: object) -> None:
        """Until the one number `n` of a query is `value`; the test's own time limit ends it."""
        while self._number(sql) != value:
            time.sleep(0.1)

    def _number(self, sql: str) -> object:
        with suppress(Overloaded):
            connection = ClickHouse(self.clickhouse)
            with suppress(Exception):  # The table is not there yet.
                return connection.query(sql)[0]["n"]
        return None

    def dead_letters(self) -> list[Record]:
        follower = Follower(self.kafka, "dead-letters")
        follower.start(5)
        records: list[Record] = []
        while not follower.caught_up():
            records += follower.poll(100, 0.2)
        follower.close()
        return records

    @contextmanager
    def sink(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": self.clickhouse.clickhouse_url,
            "CLICKHOUSE_DATABASE": self.clickhouse.clickhouse_database,
            "SINK_BATCH_AGE_S": "0.2",
            **settings,
        }
        process = subprocess.Popen([sys.executable, "-m", "services.sink"], env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def stack_on(clickhouse_url: str, directory: Path) -> Iterator[Stack]:
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    part = Part("broker", tuple(broker.command(port)), accepting(address))
    with started(part, directory / "broker.log"):
        kafka = KafkaSettings(kafka_bootstrap_servers=address)
        create_topics(kafka, partitions=3)
        database = f"t{uuid_utils.uuid7().hex}"
        yield Stack(kafka, ClickHouseSettings(clickhouse_url=clickhouse_url, clickhouse_database=database))


@pytest.fixture
def stack(clickhouse: str, tmp_path: Path) -> Iterator[Stack]:
    with stack_on(clickhouse, tmp_path) as made:
        yield made


def exchanges(count: int, source: str) -> list[Record]:
    return [encode(EXCHANGES, exchange(n, source, request=exchange().request)) for n in range(1, count + 1)]


def spread(records: list[Record]) -> list[Record]:
    """Over all partitions."""
    return [Record(r.topic, b"%d" % n, r.value, r.headers) for n, r in enumerate(records)]


def test_every_topic_arrives_in_its_table_and_the_process_leaves_when_told(stack: Stack) -> None:
    now = events.Run(id=uuid7(), task="address", state=events.RUN_STATE_DONE, report="{}")
    promotion = events.Promotion(id=uuid7(), task="address", policy=events.Policy(kind=events.POLICY_KIND_CASCADE))
    made = exchange()
    with stack.sink() as process:
        stack.put(
            encode(EXCHANGES, made),
            encode(FEEDBACK, events.FeedbackRecord(id=uuid7(), exchange_id=made.id, task="address", rating=-1)),
            encode(CANDIDATES, events.Candidate(id=made.id, task="address", split=events.SPLIT_TRAIN, probability=1)),
            encode(RUNS, now),
            encode(PROMOTIONS, promotion),
        )
        for table in ("exchanges", "feedback", "candidates", "runs", "promotions"):
            stack.until(f"SELECT count() AS n FROM {table}", 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    [row] = stack.rows(
        "SELECT toString(id) AS id, toString(cost_usd) AS cost_usd, latency_us, toString(started_at) AS started_at, "
        "metadata['kind'] AS kind, rating FROM exchanges JOIN feedback ON exchanges.id = feedback.exchange_id"
    )
    assert row == {
        "id": made.id,
        "cost_usd": "0.00234",
        "latency_us": 1_200_000,
        "started_at": "2023-11-14 22:13:20.000000",
        "kind": "register",
        "rating": -1.0,
    }
    assert stack.rows("SELECT state FROM runs") == [{"state": "done"}]
    assert stack.rows("SELECT policy FROM promotions") == [{"policy": "cascade"}]


def test_what_comes_twice_is_folded_and_the_audit_finds_nothing_missing(stack: Stack) -> None:
    records = spread(exchanges(300, "one"))
    stack.put(*records, *records[:100], *spread(exchanges(50, "two")))
    with stack.sink(SINK_BATCH_ROWS="40"):
        stack.until("SELECT count() AS n FROM exchanges FINAL", 350)
        stack.put(*records[200:])
        stack.until("SELECT max(kafka_offset) >= 0 AND count() > 350 AS n FROM exchanges", 1)
    assert stack.rows("SELECT count() AS n, uniqExact(id) AS ids FROM exchanges FINAL") == [{"n": 350, "ids": 350}]
    assert stack.rows(AUDIT) == [
        {"source": "one", "last": 300, "missing": 0},
        {"source": "two", "last": 50, "missing": 0},
    ]


def test_an_exchange_that_never_came_is_missing_in_the_audit_and_one_id_twice_is_not(stack: Stack) -> None:
    first, lost, third = exchanges(3, "one")
    again = exchange(4, "one", id=EXCHANGES.message.FromString(first.value).id)  # type: ignore[attr-defined]
    again.outcome = events.OUTCOME_FAILED
    again.ClearField("reply")
    with stack.sink():
        stack.put(first, third, encode(EXCHANGES, again))
        stack.until("SELECT count() AS n FROM ledger", 3)
    assert lost
    assert stack.rows(AUDIT) == [{"source": "one", "last": 4, "missing": 1}]
    assert stack.rows("SELECT outcome FROM exchanges FINAL WHERE sequence IN (1, 4)") == [{"outcome": "answered"}]


def test_poison_is_isolated_and_can_be_replayed_from_the_dead_letters(stack: Stack) -> None:
    poison = exchange(1, "poison")
    poison.reply.cost_usd = "99999999999999"
    records = spread([*exchanges(200, "one"), encode(EXCHANGES, poison), Record("exchanges", b"", b"\xff\xff\xff")])
    stack.put(*records)
    with stack.sink():
        stack.until("SELECT count() AS n FROM exchanges FINAL", 200)
        while len(letters := stack.dead_letters()) < 2:
            time.sleep(0.2)
    assert sorted(letter.value for letter in letters) == sorted(record.value for record in records[-2:])
    reasons = b" / ".join(letter.headers["dead-reason"] for letter in letters)
    assert b"cost_usd" in reasons
    assert b"not a tutelage.v1.Exchange" in reasons


ODD_S = {"1970": 1, "the last of 2299": 10413791999}
ABSURD_S = {
    "year -1200": -100_000_000_000,
    "year 1": -62135596800,
    "1969": -1,
    "2300": 10413792000,
    "9999": 253402300799,
    "the year 128,000": 3_999_999_999_999,
    "the least": -(2**63),
    "the largest": 2**63 - 1,
}
FAR_IDS = ("ffffffff-ffff-7fff-bfff-ffffffffffff", "c232ab00-9414-11ec-b3c8-9f6bdeced846", str(UUID(int=0)))


def test_absurd_times_go_to_the_dead_letters_odd_ones_in_as_they_are_and_none_stops_the_sink(stack: Stack) -> None:
    made = []
    for number, seconds in enumerate([*ODD_S.values(), *ABSURD_S.values()], 1):
        strange = exchange(number, "one")
        strange.started_at.seconds = strange.finished_at.seconds = seconds
        made.append(strange)
    made += [exchange(len(made) + number, "one", id=far) for number, far in enumerate(FAR_IDS, 1)]
    with stack.sink() as process:
        stack.put(*(encode(EXCHANGES, one) for one in made), *exchanges(20, "two"))
        stack.until("SELECT count() AS n FROM exchanges FINAL", len(ODD_S) + len(FAR_IDS) + 20)
        while len(letters := stack.dead_letters()) < len(ABSURD_S):
            time.sleep(0.2)
        assert process.poll() is None
    assert all(b"started_at" in letter.headers["dead-reason"] for letter in letters)
    assert stack.rows(
        "SELECT toString(min(started_at)) AS first, toString(max(started_at)) AS last FROM exchanges"
    ) == [{"first": "1970-01-01 00:00:01.000000", "last": "2299-12-31 23:59:59.000000"}]


def test_places_that_cannot_be_go_to_the_dead_letters_and_the_audit_still_tells_what_is_missing(stack: Stack) -> None:
    far = [exchange(sequence, "far") for sequence in (2**64 - 1, LAST_SEQUENCE + 1)]
    first, _lost, third = exchanges(3, "one")
    refused = [encode(SOURCES, events.SourceState(source="far", last_sequence=2**64 - 1))]
    refused += [encode(EXCHANGES, one) for one in far]
    with stack.sink():
        stack.put(first, *refused, third, encode(EXCHANGES, exchange(0, "older", id=uuid7())))
        stack.until("SELECT count() AS n FROM exchanges", 3)
        while len(letters := stack.dead_letters()) < len(refused):
            time.sleep(0.2)
    assert sorted(letter.value for letter in letters) == sorted(record.value for record in refused)
    assert all(b"sequence is 1" in letter.headers["dead-reason"] for letter in letters)
    assert stack.rows("SELECT source, answered, stored, missing FROM audit") == [
        {"source": "one", "answered": 3, "stored": 2, "missing": 1}
    ]


def test_a_sink_killed_by_signal_9_loses_nothing(stack: Stack) -> None:
    stack.put(*spread(exchanges(2000, "one")))
    with stack.sink(SINK_BATCH_ROWS="100") as process:
        stack.until("SELECT count() > 0 AS n FROM exchanges", 1)
        process.kill()
    with stack.sink():
        stack.until("SELECT uniqExact(id) AS n FROM exchanges", 2000)
    assert stack.rows(AUDIT) == [{"source": "one", "last": 2000, "missing": 0}]


def test_clickhouse_may_come_late_and_go_away_and_the_sink_goes_on_by_itself(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    url = f"http://{HOST}:{port}"
    command = clickhouse_command(tmp_path / "data", port)
    part = Part("clickhouse", command, lambda: ready.answers_http(f"{url}/ping"))
    with ExitStack() as running:
        stack = running.enter_context(stack_on(url, tmp_path))
        records = exchanges(300, "one")
        stack.put(*records[:100])
        process = running.enter_context(stack.sink())
        with started(part, tmp_path / "clickhouse.log"):
            stack.until("SELECT uniqExact(id) AS n FROM exchanges", 100)
        stack.put(*records[100:])
        time.sleep(2)  # The sink meets the closed door.
        with started(part, tmp_path / "clickhouse.log"):
            stack.until("SELECT uniqExact(id) AS n FROM exchanges", 300)
            assert stack.rows(AUDIT) == [{"source": "one", "last": 300, "missing": 0}]
            assert process.poll() is None
