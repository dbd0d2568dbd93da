"""The three fates of a message, and what a member does when it is told to go."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from services import telemetry
from services.errors import Overloaded
from services.sink import pipeline as pipeline_module
from services.sink.batch import Limits
from services.sink.pipeline import Pipeline
from services.sink.rows import TABLES
from services.sink.writing import WrongTable
from services.topics import EXCHANGES, Record, encode
from tests.fakes.clickhouse import FakeClickHouse, FakeServer
from tests.fakes.kafka import FakeBroker, FakeConsumer, FakeProducer
from tests.services.sink.messages import exchange

LIMITS = Limits(rows=5, size_bytes=1_000_000, age_s=0.05)


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker(partitions=2)
    made.create_topics()
    return made


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(tables={name: [] for name in TABLES})


@pytest.fixture(autouse=True)
def _retries_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "wait_exponential_jitter", lambda **_: lambda _state: 0.01)


class Sink:
    """A sink in a thread."""

    def __init__(self, broker: FakeBroker, server: FakeServer) -> None:
        self.stopping = threading.Event()
        self.ended_by: list[BaseException] = []
        self._pipeline = Pipeline(
            lambda on_revoke: FakeConsumer(broker, "sink", [*TABLES], on_revoke),
            FakeProducer(broker),
            FakeClickHouse(server),
            LIMITS,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._pipeline.run(self.stopping)
        except BaseException as error:  # noqa: BLE001 - given to the test
            self.ended_by.append(error)

    def join(self) -> None:
        self._thread.join()

    def stop(self) -> None:
        self.stopping.set()
        self.join()


@contextmanager
def running(broker: FakeBroker, server: FakeServer) -> Iterator[Sink]:
    sink = Sink(broker, server)
    try:
        yield sink
    finally:
        sink.stop()


def until(true: Callable[[], bool]) -> None:
    tick = threading.Event()
    while not true():
        tick.wait(0.01)


def put(broker: FakeBroker, sequences: range, error: str = "") -> None:
    for n in sequences:
        broker.append(encode(EXCHANGES, exchange(n, error=error)))


def sequences(server: FakeServer) -> list[int]:
    return sorted(row["sequence"] for row in server.tables["exchanges"])


def uncommitted(broker: FakeBroker, topic: str = "exchanges") -> int:
    done = sum(broker.committed.get(("sink", topic, partition), 0) for partition in range(broker.partitions))
    return len(broker.records(topic)) - done


def test_everything_is_inserted_and_then_committed(broker: FakeBroker, server: FakeServer) -> None:
    put(broker, range(1, 24))
    with running(broker, server):
        until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == list(range(1, 24))
    assert max(rows for _, rows in server.inserts) > 1


def test_what_cannot_be_decoded_goes_to_the_dead_letters_and_the_rest_goes_on(
    broker: FakeBroker, server: FakeServer
) -> None:
    put(broker, range(1, 3))
    broker.append(Record("exchanges", b"k", b"\xff\xff\xff"))
    put(broker, range(3, 5))
    with running(broker, server):
        until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == [1, 2, 3, 4]
    (letter,) = broker.records("dead-letters")
    assert letter.value == b"\xff\xff\xff"
    assert (letter.headers["dead-topic"], letter.headers["dead-by"]) == (b"exchanges", b"sink")
    assert b"not a tutelage.v1.Exchange" in letter.headers["dead-reason"]


def test_a_row_that_clickhouse_refuses_is_found_among_the_others_and_buried(
    broker: FakeBroker, server: FakeServer
) -> None:
    server.refuse = lambda _table, row: "poison" if row["sequence"] in {7, 8} else ""
    put(broker, range(1, 21))
    with running(broker, server):
        until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == [n for n in range(1, 21) if n not in {7, 8}]
    buried = [EXCHANGES.message.FromString(letter.value) for letter in broker.records("dead-letters")]
    assert sorted(one.sequence for one in buried) == [7, 8]  # type: ignore[attr-defined]


def test_when_no_row_fits_the_table_the_process_stops_before_the_commit(
    broker: FakeBroker, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.services.sink.test_pipeline.LIMITS", Limits(50, 1_000_000, 0.05))
    server.refuse = lambda _table, _row: "no such column"
    put(broker, range(1, 31))
    sink = Sink(broker, server)
    sink.join()
    assert isinstance(sink.ended_by[0], WrongTable)
    assert uncommitted(broker) == 30
    assert not broker.records("dead-letters")


def test_clickhouse_away_pauses_and_nothing_is_lost_or_dead_when_it_is_back(
    broker: FakeBroker, server: FakeServer
) -> None:
    server.away = True
    put(broker, range(1, 10))
    paused = telemetry.PAUSED.labels("sink")._value
    with running(broker, server):
        until(lambda: paused.get() == 1)
        put(broker, range(10, 20))
        assert uncommitted(broker) == 19
        server.away = False
        until(lambda: uncommitted(broker) == 0)
        until(lambda: paused.get() == 0)
    assert sequences(server) == list(range(1, 20))
    assert not broker.records("dead-letters")


def test_stopping_writes_what_is_read_and_leaves_the_group(broker: FakeBroker, server: FakeServer) -> None:
    put(broker, range(1, 4))
    with running(broker, server) as sink:
        until(lambda: bool(server.tables["exchanges"]))
        sink.stop()
    assert sequences(server) == [1, 2, 3]
    assert uncommitted(broker) == 0
    assert broker.members["sink"] == []


def test_stopping_while_clickhouse_is_away_leaves_all_to_the_next_start(broker: FakeBroker, server: FakeServer) -> None:
    server.away = True
    put(broker, range(1, 8))
    with running(broker, server):
        until(lambda: telemetry.PAUSED.labels("sink")._value.get() == 1)
    assert uncommitted(broker) == 7
    server.away = False
    with running(broker, server):
        until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == list(range(1, 8))


def test_a_second_member_takes_over_partitions_without_a_gap(broker: FakeBroker, server: FakeServer) -> None:
    for n in range(1, 200):
        broker.append(encode(EXCHANGES, exchange(n, request=exchange().request)))
    with running(broker, server), running(broker, server):
        put(broker, range(200, 400))
        until(lambda: uncommitted(broker) == 0)
    assert set(sequences(server)) == set(range(1, 400))


def test_kafka_away_at_the_commit_repeats_the_batch_and_the_table_keeps_one(
    broker: FakeBroker, server: FakeServer
) -> None:
    put(broker, range(1, 4))
    refuse_commits_once(broker)
    with running(broker, server):
        until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == [1, 2, 3]


def refuse_commits_once(broker: FakeBroker) -> None:
    real = broker.committed
    refusals = iter([None])

    class Once(dict[tuple[str, str, int], int]):
        def __setitem__(self, key: tuple[str, str, int], value: int) -> None:
            for _ in refusals:
                raise Overloaded("the coordinator moves")
            super().__setitem__(key, value)

    broker.committed = Once(real)


@pytest.mark.parametrize("leap_s", [-1e8, 1e8])
def test_a_batch_is_written_by_its_age_however_the_wall_clock_leaps(
    broker: FakeBroker, server: FakeServer, monkeypatch: pytest.MonkeyPatch, leap_s: float
) -> None:
    leaps = count(1)
    monkeypatch.setattr(time, "time", lambda: 2e9 + leap_s * next(leaps))
    with running(broker, server):
        put(broker, range(1, 2))
        until(lambda: sequences(server) == [1])
