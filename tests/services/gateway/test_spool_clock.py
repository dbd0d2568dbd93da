"""A wall clock that jumps neither stalls the spool nor makes it hurry, and what it tells stays in order."""

import asyncio
from pathlib import Path

import pytest

from services.gateway import sources as sources_module
from services.gateway import spool as spool_module
from services.gateway.spool import Fsync, Spool
from services.gateway.spool_segments import Segment
from services.topics import SOURCES, decode
from tests.fakes.kafka import FakeBroker
from tests.services.gateway.test_spool import exchange, opened, sequences, until
from tests.wall_clock import leap, leaping

LONGER_THAN_THE_THREAD_SLEEPS_S = 0.7


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture(autouse=True)
def _closing_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "CLOSE_WITHIN_S", 0.1)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Segment]:
    """Every time that a segment's bytes are brought to the disk."""
    found: list[Segment] = []
    real = Segment.sync

    def counted(segment: Segment) -> None:
        found.append(segment)
        real(segment)

    monkeypatch.setattr(Segment, "sync", counted)
    return found


async def append(spool: Spool, count: int) -> None:
    for number in range(count):
        await spool.append_exchange(exchange(str(number)))


@leaping
@pytest.mark.parametrize("fsync", Fsync)
async def test_what_is_written_while_the_clock_leaps_reaches_kafka(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, fsync: Fsync, leap_s: float
) -> None:
    async with opened(tmp_path, broker, fsync=fsync) as spool:
        await append(spool, 3)
        leap(monkeypatch, leap_s)
        await append(spool, 40)
        await until(lambda: spool.waiting_bytes == 0)
    assert sequences(broker) == list(range(1, 44))


@leaping
async def test_the_disk_is_asked_at_its_interval_no_sooner_and_no_later(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, syncs: list[Segment], leap_s: float
) -> None:
    broker.away = True  # Its segments stay.
    monkeypatch.setattr(spool_module, "SYNC_EVERY_S", 0.05)
    async with opened(tmp_path / "soon", broker, fsync=Fsync.INTERVAL) as spool:
        leap(monkeypatch, leap_s)
        await append(spool, 1)
        await until(lambda: len(syncs) > 5)
    syncs.clear()
    monkeypatch.setattr(spool_module, "SYNC_EVERY_S", 1e9)
    async with opened(tmp_path / "hardly ever", broker, fsync=Fsync.INTERVAL) as spool:
        for _ in range(20):
            await append(spool, 1)
            await asyncio.sleep(0.01)
    assert not syncs


@leaping
async def test_states_are_told_when_something_changed_and_each_is_later_than_the_last(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, leap_s: float
) -> None:
    monkeypatch.setattr(sources_module, "TELL_EVERY_S", 0.01)

    def told() -> list[int]:
        return [decode(record).last_sequence for record in broker.records(SOURCES.name)]

    async with opened(tmp_path, broker) as spool:
        await append(spool, 1)
        await until(lambda: told()[-1:] == [1])
        leap(monkeypatch, leap_s)
        await append(spool, 2)
        await until(lambda: told()[-1] == 3)
        await until(lambda: spool.waiting_bytes == 0)
        await asyncio.sleep(LONGER_THAN_THE_THREAD_SLEEPS_S)
        count = len(told())
        await asyncio.sleep(LONGER_THAN_THE_THREAD_SLEEPS_S)
        assert len(told()) == count
    times = [decode(record).at.ToNanoseconds() for record in broker.records(SOURCES.name)]
    assert times == sorted(set(times))
    assert decode(broker.records(SOURCES.name)[-1]).ended
