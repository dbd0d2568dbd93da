"""The sink's batches have the age that the monotonic clock gives them, however the wall clock jumps."""

import time

import pytest

from services.sink.batch import Limits
from services.sink.rows import TABLES
from tests.fakes.clickhouse import FakeServer
from tests.fakes.kafka import FakeBroker
from tests.services.sink import test_pipeline
from tests.services.sink.test_pipeline import put, running, sequences, uncommitted, until
from tests.wall_clock import leap, leaping

MANY = 1_000_000


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker()
    made.create_topics()
    return made


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(tables={name: [] for name in TABLES})


def limit_age(monkeypatch: pytest.MonkeyPatch, age_s: float) -> None:
    monkeypatch.setattr(test_pipeline, "LIMITS", Limits(rows=MANY, size_bytes=10**9, age_s=age_s))


@leaping
def test_what_comes_while_the_clock_leaps_is_inserted_when_it_is_due(
    broker: FakeBroker, server: FakeServer, monkeypatch: pytest.MonkeyPatch, leap_s: float
) -> None:
    limit_age(monkeypatch, 0.05)
    leap(monkeypatch, leap_s)
    with running(broker, server):
        for n in range(1, 6):
            put(broker, range(n, n + 1))
            until(lambda: uncommitted(broker) == 0)
    assert sequences(server) == [1, 2, 3, 4, 5]


@leaping
def test_a_batch_that_is_young_still_waits_for_more(
    broker: FakeBroker, server: FakeServer, monkeypatch: pytest.MonkeyPatch, leap_s: float
) -> None:
    limit_age(monkeypatch, 3_600.0)
    leap(monkeypatch, leap_s)
    with running(broker, server):
        for n in range(1, 6):
            put(broker, range(n, n + 1))
            broker.say_changed()
            time.sleep(0.15)  # A turn of the sink's loop, and a look at the clock.
        assert server.inserts == []
    assert [rows for table, rows in server.inserts if table == "exchanges"] == [5]
