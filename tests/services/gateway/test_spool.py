"""Promise 1: what was answered is never lost for Kafka's sake, and what can't be kept is refused before it is asked."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import Gauge
from structlog.testing import capture_logs

from protos import events_pb2 as events
from services import telemetry
from services.gateway import spool as spool_module
from services.gateway import spool_segments
from services.gateway.spool import Fsync, Spool, SpoolFull
from services.gateway.spool_disk import SpoolInUse
from services.gateway.spool_segments import unpack
from services.topics import FEEDBACK, Record, decode, encode
from tests.fakes.kafka import FakeBroker, FakeProducer

MEBIBYTE = 1024 * 1024


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture(autouse=True)
def _closing_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "CLOSE_WITHIN_S", 0.1)


@asynccontextmanager
async def opened(
    directory: Path, broker: FakeBroker, max_bytes: int = 64 * MEBIBYTE, fsync: Fsync = Fsync.OFF, queue: int = 1000
) -> AsyncIterator[Spool]:
    spool = Spool.open(directory, FakeProducer(broker, queue), max_bytes, fsync)
    try:
        yield spool
    finally:
        await spool.close()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.01)


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def exchange(id_: str, answer: str = "x") -> events.Exchange:
    return events.Exchange(id=id_, error=answer)


def sequences(broker: FakeBroker) -> list[int]:
    return [decode(record).sequence for record in broker.records("exchanges")]


@pytest.mark.parametrize("fsync", Fsync)
async def test_exchanges_reach_kafka_in_order_and_without_a_gap(
    tmp_path: Path, broker: FakeBroker, fsync: Fsync
) -> None:
    async with opened(tmp_path, broker, fsync=fsync) as spool:
        await asyncio.gather(*(spool.append_exchange(exchange(str(n))) for n in range(500)))
        await until(lambda: len(broker.records("exchanges")) == 500)
        assert sequences(broker) == list(range(1, 501))
        assert {decode(record).source for record in broker.records("exchanges")} == {spool.source}
    assert not files(tmp_path)


async def test_the_calls_of_one_turn_share_one_write(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    real = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return real(fd, data)

    async with opened(tmp_path, broker) as spool:
        monkeypatch.setattr(os, "write", counted)
        await asyncio.gather(*(spool.append_exchange(exchange(str(n))) for n in range(50)))
        monkeypatch.undo()
    assert len(writes) == 1


async def test_other_records_travel_the_same_way_and_take_no_sequence(tmp_path: Path, broker: FakeBroker) -> None:
    async with opened(tmp_path, broker) as spool:
        await spool.append_exchange(exchange("a"))
        await spool.append(encode(FEEDBACK, events.FeedbackRecord(id="f", exchange_id="a", task="t")))
        await spool.append_exchange(exchange("b"))
        await until(lambda: len(broker.records("exchanges")) == 2)
    assert sequences(broker) == [1, 2]
    assert [decode(record).id for record in broker.records("feedback")] == ["f"]


async def test_an_outage_of_kafka_costs_disk_and_nothing_else(tmp_path: Path, broker: FakeBroker) -> None:
    broker.away = True
    async with opened(tmp_path, broker, queue=10) as spool:
        for n in range(300):
            spool.admit()
            await spool.append_exchange(exchange(str(n)))
        assert spool.waiting_bytes > 0
        broker.away = False
        await until(lambda: spool.waiting_bytes == 0)
    assert sequences(broker) == list(range(1, 301))


async def test_a_start_sends_what_the_last_one_left_beside_new_traffic(tmp_path: Path, broker: FakeBroker) -> None:
    broker.away = True
    async with opened(tmp_path, broker) as first:
        for n in range(20):
            await first.append_exchange(exchange(f"old-{n}"))
    broker.away = False
    async with opened(tmp_path, broker) as second:
        for n in range(20):
            await second.append_exchange(exchange(f"new-{n}"))
        await until(lambda: second.waiting_bytes == 0)
    assert first.source != second.source
    arrived = [decode(record) for record in broker.records("exchanges")]
    assert [(e.source, e.sequence, e.id) for e in arrived] == [
        (source, n + 1, f"{name}-{n}")
        for source, name in ((first.source, "old"), (second.source, "new"))
        for n in range(20)
    ]


async def test_the_key_and_the_headers_survive_the_disk(tmp_path: Path, broker: FakeBroker) -> None:
    broker.away = True
    record = Record("feedback", b"key", b"value", {"content-type": b"text", "x": b"\x00\xff"})
    async with opened(tmp_path, broker) as spool:
        await spool.append(record)
    broker.away = False
    async with opened(tmp_path, broker) as spool:
        await until(lambda: spool.waiting_bytes == 0)
    (arrived,) = broker.records("feedback")
    assert (arrived.key, arrived.value, dict(arrived.headers)) == (record.key, record.value, record.headers)


async def test_a_torn_tail_is_put_aside_and_everything_before_it_is_sent(tmp_path: Path, broker: FakeBroker) -> None:
    broker.away = True
    async with opened(tmp_path, broker) as spool:
        for n in range(5):
            await spool.append_exchange(exchange(str(n)))
    (left,) = files(tmp_path)
    os.truncate(left, left.stat().st_size - 3)
    broker.away = False
    async with opened(tmp_path, broker) as spool:
        await until(lambda: spool.waiting_bytes == 0)
    assert sequences(broker) == [1, 2, 3, 4]
    (aside,) = (tmp_path / "refused").iterdir()
    assert aside.name.endswith(".torn")


async def test_a_spool_above_its_limit_admits_nobody_but_takes_what_was_admitted(
    tmp_path: Path, broker: FakeBroker
) -> None:
    broker.away = True
    async with opened(tmp_path, broker, max_bytes=10_000) as spool:
        while spool.waiting_bytes < 10_000 - 10_000 // 8:
            spool.admit()
            await spool.append_exchange(exchange("x", "y" * 500))
        with pytest.raises(SpoolFull, match="the spool is full"):
            spool.admit()
        assert gauge(telemetry.SPOOL_FAILED) == 1
        await spool.append_exchange(exchange("admitted earlier"))
        broker.away = False
        await until(lambda: spool.waiting_bytes == 0)
        spool.admit()
        assert gauge(telemetry.SPOOL_FAILED) == 0
    assert decode(broker.records("exchanges")[-1]).id == "admitted earlier"


async def test_at_the_limit_the_log_tells_once_a_minute_and_in_the_end_what_stayed(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(at_s=0.0, refusal="")
    monkeypatch.setattr(spool_module, "time", SimpleNamespace(monotonic=lambda: now.at_s))
    async with opened(tmp_path, broker) as spool:
        monkeypatch.setattr(spool, "_refusal", lambda: now.refusal)
        with capture_logs() as told:
            for now.at_s, now.refusal in product(range(100), ("full", "")):
                with suppress(SpoolFull):
                    spool.admit()
    assert [one["event"] for one in told] == ["calls are refused", "calls are taken again"]


async def test_it_tells_how_long_kafka_has_acknowledged_nothing(tmp_path: Path, broker: FakeBroker) -> None:
    async with opened(tmp_path, broker) as spool:
        await spool.append_exchange(exchange("before"))
        await until(lambda: spool.waiting_bytes == 0)
        assert gauge(telemetry.SPOOL_STALLED) == 0
        broker.away = True
        await spool.append_exchange(exchange("waits"))
        await until(lambda: gauge(telemetry.SPOOL_STALLED) > 0.2)
        broker.away = False
        await until(lambda: gauge(telemetry.SPOOL_STALLED) == 0)
    assert sequences(broker) == [1, 2]


def gauge(metric: Gauge) -> float:
    return float(next(iter(metric.collect())).samples[0].value)


class Disk:
    """os.write that can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes_before_failing: float = float("inf")
        self._write, self._allocate = os.write, os.posix_fallocate
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "posix_fallocate", self.allocate)

    def write(self, fd: int, data: bytes) -> int:
        self.writes_before_failing -= 1
        self._fail()
        return self._write(fd, data)

    def allocate(self, fd: int, start: int, size: int) -> None:
        self._fail()
        self._allocate(fd, start, size)

    def _fail(self) -> None:
        if self.writes_before_failing < 0:
            raise OSError(28, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_full_disk_refuses_loudly_and_is_found_mended_by_itself(
    tmp_path: Path, broker: FakeBroker, disk: Disk
) -> None:
    async with opened(tmp_path, broker) as spool:
        await spool.append_exchange(exchange("before"))
        disk.writes_before_failing = 0
        with pytest.raises(SpoolFull, match="No space left"):
            await spool.append_exchange(exchange("not answered"))
        with pytest.raises(SpoolFull, match="tried again every second"):
            spool.admit()
        assert gauge(telemetry.SPOOL_FAILED) == 1
        disk.writes_before_failing = float("inf")
        await until(lambda: gauge(telemetry.SPOOL_FAILED) == 0)
        spool.admit()
        await spool.append_exchange(exchange("after"))
        await until(lambda: spool.waiting_bytes == 0)
    assert [(decode(record).id, decode(record).sequence) for record in broker.records("exchanges")] == [
        ("before", 1),
        ("after", 2),
    ]


async def test_the_reserve_makes_room_for_a_call_that_was_admitted(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, broker) as spool:
        await spool.append_exchange(exchange("before"))
        (filled,) = files(tmp_path)
        real = os.write

        def full_while_reserved(fd: int, data: bytes) -> int:
            if (tmp_path / "reserve").exists():
                raise OSError(28, "No space left on device")
            return real(fd, data)

        monkeypatch.setattr(os, "write", full_while_reserved)
        await spool.append_exchange(exchange("admitted"))
        with pytest.raises(SpoolFull):
            spool.admit()
        monkeypatch.undo()
        await until(lambda: len(broker.records("exchanges")) == 2)
        await until(lambda: filled not in files(tmp_path))


async def test_a_caller_who_goes_away_takes_nobodys_record_with_him(tmp_path: Path, broker: FakeBroker) -> None:
    async with opened(tmp_path, broker) as spool:
        tasks = [asyncio.ensure_future(spool.append_exchange(exchange(str(n)))) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        await until(lambda: len(broker.records("exchanges")) == 3)
    assert sequences(broker) == [1, 2, 3]


async def test_a_record_that_kafka_refuses_for_good_is_put_aside_and_stops_nobody(
    tmp_path: Path, broker: FakeBroker
) -> None:
    broker.refuse = lambda record: "too large" if b"huge" in record.value else ""
    async with opened(tmp_path, broker) as spool:
        for id_ in ("a", "huge", "b"):
            await spool.append_exchange(exchange(id_))
        await until(lambda: spool.waiting_bytes == 0)
    assert sequences(broker) == [1, 3]
    (aside,) = (tmp_path / "refused").iterdir()
    ((record, _),) = unpack(aside.read_bytes())
    assert decode(record).id == "huge"


async def test_two_gateways_cannot_share_a_spool(tmp_path: Path, broker: FakeBroker) -> None:
    async with opened(tmp_path, broker):
        with pytest.raises(SpoolInUse, match="another running gateway"):
            Spool.open(tmp_path, FakeProducer(broker), MEBIBYTE, Fsync.OFF)
    async with opened(tmp_path, broker):
        pass


async def test_files_are_deleted_as_kafka_acknowledges_them(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_segments, "SEGMENT_BYTES", 10_000)
    broker.away = True
    async with opened(tmp_path, broker) as spool:
        for n in range(100):
            await spool.append_exchange(exchange(str(n), "y" * 500))
        assert len(files(tmp_path)) > 4
        broker.away = False
        await until(lambda: len(files(tmp_path)) <= 1)
    assert sequences(broker) == list(range(1, 101))


@pytest.mark.parametrize("fsync", Fsync)
async def test_a_quiet_gateway_keeps_no_text_that_kafka_has(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, fsync: Fsync
) -> None:
    monkeypatch.setattr(spool_module, "KEEP_S", 0.05)
    async with opened(tmp_path, broker, fsync=fsync) as spool:
        for n in range(1, 4):
            await spool.append_exchange(exchange(f"{n}", "12 Main Street"))
            await until(lambda: not files(tmp_path))
            assert sequences(broker) == list(range(1, n + 1))
            assert b"Main Street" not in contents(tmp_path)


async def test_what_kafka_has_not_is_kept_however_quiet_it_is(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "KEEP_S", 0.01)
    broker.away = True
    async with opened(tmp_path, broker) as spool:
        await spool.append_exchange(exchange("a"))
        await asyncio.sleep(0.3)
        assert len(files(tmp_path)) == 1
        broker.away = False
        await until(lambda: not files(tmp_path))
    assert sequences(broker) == [1]


async def test_a_gateway_that_writes_all_the_time_makes_a_file_now_and_then_and_not_one_a_call(
    tmp_path: Path, broker: FakeBroker
) -> None:
    async with opened(tmp_path, broker) as spool:
        for n in range(1, 21):
            await spool.append_exchange(exchange(f"{n}"))
            await until(lambda: spool.waiting_bytes == 0)
        assert [path.name for path in files(tmp_path)] <= [f"{1:020d}.seg"]


APPEND_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace
from protos import events_pb2 as events
from services.gateway.spool import Fsync, Spool
from tests.fakes.kafka import FakeBroker, FakeProducer

async def caller(spool):
    while True:
        exchange = events.Exchange(id="x", error="y" * 300)
        await spool.append_exchange(exchange)
        print(spool.source, exchange.sequence, flush=True)

async def main():
    spool = Spool.open(Path(sys.argv[1]), FakeProducer(FakeBroker(away=True)), 1 << 30, Fsync.OFF)
    await asyncio.gather(*(caller(spool) for _ in range(8)))

asyncio.run(main())
"""


def killed_while_appending(directory: Path, after_lines: int) -> tuple[str, set[int]]:
    """The source, and the sequences that were promised before signal 9."""
    command = [sys.executable, "-c", textwrap.dedent(APPEND_FOR_EVER), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    promised = [line.split() for line in lines if line.endswith("\n")]
    return promised[0][0], {int(sequence) for _, sequence in promised}


async def test_a_gateway_killed_by_signal_9_has_lost_nothing_it_promised(tmp_path: Path, broker: FakeBroker) -> None:
    sources = {}
    for after_lines in (1, 100, 1000):
        source, promised = await asyncio.to_thread(killed_while_appending, tmp_path, after_lines)
        sources[source] = promised
    async with opened(tmp_path, broker) as spool:
        await until(lambda: spool.waiting_bytes == 0)
    arrived: dict[str, list[int]] = {}
    for record in broker.records("exchanges"):
        arrived.setdefault(decode(record).source, []).append(decode(record).sequence)
    assert sources.keys() == arrived.keys()
    for source, promised in sources.items():
        assert promised <= set(arrived[source])
        assert arrived[source] == list(range(1, len(arrived[source]) + 1))
