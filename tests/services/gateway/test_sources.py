"""How far a source has come is told while it goes on, when it ends, and after it was killed."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protos import events_pb2 as events
from services.gateway import sources as sources_module
from services.gateway import spool as spool_module
from services.gateway import spool_segments
from services.gateway.spool import Fsync, Spool
from services.topics import SOURCES, decode
from tests.fakes.kafka import FakeBroker, FakeProducer


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "CLOSE_WITHIN_S", 0.1)
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 0.01)


@asynccontextmanager
async def opened(directory: Path, broker: FakeBroker) -> AsyncIterator[Spool]:
    spool = Spool.open(directory, FakeProducer(broker), 64 * 2**20, Fsync.OFF)
    try:
        yield spool
    finally:
        await spool.close()


@asynccontextmanager
async def killed(directory: Path, broker: FakeBroker) -> AsyncIterator[Spool]:
    """A spool whose directory is afterwards as a kill by signal 9 would leave it."""
    kept = directory.with_suffix(".kept")
    async with opened(directory, broker) as spool:
        yield spool
        shutil.copytree(directory, kept)
    shutil.rmtree(directory)
    kept.rename(directory)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.01)


def notes(directory: Path) -> list[Path]:
    return list(directory.glob("*.source"))


async def append(spool: Spool, count: int, size: int = 1) -> None:
    for n in range(count):
        exchange = events.Exchange(id=f"{n}", error="y" * size)
        exchange.finished_at.FromSeconds(1_000 + n)
        await spool.append_exchange(exchange)


def told(broker: FakeBroker, source: str) -> list[events.SourceState]:
    states = [decode(record) for record in broker.records(SOURCES.name)]
    return [state for state in states if state.source == source]


def last(broker: FakeBroker, source: str) -> events.SourceState:
    return (told(broker, source) or [events.SourceState()])[-1]


def figures(state: events.SourceState) -> tuple[int, int, bool]:
    return state.last_sequence, state.acknowledged, state.ended


async def test_a_gateway_tells_how_far_it_is_and_at_its_end_that_there_is_no_more(
    tmp_path: Path, broker: FakeBroker
) -> None:
    async with opened(tmp_path, broker) as spool:
        await until(lambda: bool(told(broker, spool.source)))
        assert figures(last(broker, spool.source)) == (0, 0, False)
        await append(spool, 30)
        await until(lambda: figures(last(broker, spool.source)) == (30, 30, False))
    end = last(broker, spool.source)
    assert figures(end) == (30, 30, True)
    assert end.host
    assert abs(end.at.seconds - time.time()) < 60
    assert not notes(tmp_path)


async def test_what_changes_no_more_is_told_again_only_after_a_while(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, broker) as spool:
        await append(spool, 3)
        await until(lambda: figures(last(broker, spool.source)) == (3, 3, False))
        count = len(told(broker, spool.source))
        await asyncio.sleep(0.7)  # Longer than the draining thread sleeps.
        assert len(told(broker, spool.source)) == count
        monkeypatch.setattr(sources_module, "TELL_AT_LEAST_EVERY_S", 0.01)
        await until(lambda: len(told(broker, spool.source)) > count)


async def test_while_kafka_is_away_one_state_waits_and_then_tells_the_oldest_that_it_has_not(
    tmp_path: Path, broker: FakeBroker
) -> None:
    async with opened(tmp_path, broker) as spool:
        await append(spool, 2)
        await until(lambda: figures(last(broker, spool.source)) == (2, 2, False))
        count = len(told(broker, spool.source))
        broker.away = True
        await append(spool, 5)
        await asyncio.sleep(0.3)
        broker.away = False
        await until(lambda: figures(last(broker, spool.source)) == (7, 7, False))
        during = [state for state in told(broker, spool.source)[count:] if state.acknowledged == 2]
    assert len(during) == 1
    assert during[0].oldest_unacknowledged_at.seconds >= 1_000
    assert not last(broker, spool.source).HasField("oldest_unacknowledged_at")


async def test_the_next_gateway_closes_a_killed_one_with_the_last_sequence_in_its_files(
    tmp_path: Path, broker: FakeBroker
) -> None:
    directory = tmp_path / "spool"
    broker.away = True
    async with killed(directory, broker) as first:
        await append(first, 40)
    assert not told(broker, first.source)
    broker.away = False
    async with opened(directory, broker) as second:
        await until(lambda: last(broker, first.source).ended)
        assert second.waiting_bytes == 0
    assert figures(last(broker, first.source)) == (40, 40, True)
    assert figures(last(broker, second.source)) == (0, 0, True)
    assert not notes(directory)


async def test_the_last_sequence_is_known_also_where_its_file_is_gone(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "spool"
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 1e9)  # Not one state is told before the kill.
    monkeypatch.setattr(spool_segments, "SEGMENT_BYTES", 2_000)
    async with killed(directory, broker) as first:
        await append(first, 20, size=500)
        await until(lambda: len(list(directory.glob("*.seg"))) <= 1)
        await until(lambda: len(broker.records("exchanges")) == 20)
    broker.logs.clear()  # Also Kafka has forgotten, to make it harder.
    for path in directory.glob("*.seg"):
        path.write_bytes(b"")  # As if the last file had been opened and nothing written to it yet.
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 0.01)
    async with opened(directory, broker):
        await until(lambda: last(broker, first.source).ended)
    assert last(broker, first.source).last_sequence >= 16


async def test_the_last_sequence_is_known_of_a_quiet_gateway_that_left_no_file(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "spool"
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 1e9)  # Not one state is told before the kill.
    monkeypatch.setattr(spool_module, "KEEP_S", 0.01)
    async with killed(directory, broker) as first:
        await append(first, 7)
        await until(lambda: not list(directory.glob("*.seg")))
    broker.logs.clear()  # Also Kafka has forgotten, to make it harder.
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 0.01)
    async with opened(directory, broker):
        await until(lambda: last(broker, first.source).ended)
    assert figures(last(broker, first.source)) == (7, 7, True)
    assert not broker.records("exchanges")


async def test_a_source_ends_only_when_kafka_has_all_of_it(tmp_path: Path, broker: FakeBroker) -> None:
    async with opened(tmp_path, broker) as first:
        await append(first, 5)
        await until(lambda: figures(last(broker, first.source)) == (5, 5, False))
        broker.away = True
        await append(first, 5)
    assert not last(broker, first.source).ended
    broker.away = False
    async with opened(tmp_path, broker):
        await until(lambda: last(broker, first.source).ended)
    assert figures(last(broker, first.source)) == (10, 10, True)


async def test_what_kafka_refuses_for_good_is_counted_as_put_aside(tmp_path: Path, broker: FakeBroker) -> None:
    broker.refuse = lambda record: "too large" if b"y" * 9 in record.value else ""
    async with opened(tmp_path, broker) as spool:
        await append(spool, 2, size=9)
        await append(spool, 1)
    assert (last(broker, spool.source).put_aside, figures(last(broker, spool.source))) == (2, (3, 3, True))


async def test_a_disk_without_room_for_a_note_deletes_files_all_the_same(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources_module, "_write_note", full)
    monkeypatch.setattr(spool_segments, "SEGMENT_BYTES", 2_000)
    async with opened(tmp_path, broker) as spool:
        await append(spool, 20, size=500)
        await until(lambda: len(list(tmp_path.glob("*.seg"))) <= 1)
        spool.admit()
