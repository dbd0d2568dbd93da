"""Quotas and topic `key-usage`: told every second, known after a restart and in every gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from protos import events_pb2 as events
from services import telemetry
from services.gateway import usage as usage_module
from services.gateway.allowances import OverQuota
from services.gateway.keys import Holder
from services.gateway.quotas import Quotas
from services.gateway.usage import Usage
from services.topics import KEY_USAGE, Record, decode, encode
from tests.fakes.kafka import FakeBroker, FakeFollower, FakeProducer
from tests.services.gateway.examples import FREE, a_task, until

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ANN = Holder("ann", usd_per_day=Decimal(1))


@pytest.fixture(autouse=True)
def _told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "TELL_EVERY_S", 0.0)


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker(partitions=2)
    made.create_topics()
    return made


@asynccontextmanager
async def gateway(
    broker: FakeBroker, source: str, buried: list[tuple[str, int]] | None = None
) -> AsyncIterator[Quotas]:
    quotas = Quotas(source, wall_s=NOON.timestamp)
    usage = Usage(quotas, FakeFollower(broker, KEY_USAGE.name), FakeProducer(broker), (buried or []).extend)
    if buried is not None:
        usage._bury = buried.extend
    await usage.start(5.0 if not broker.away else 0.05)
    yield quotas
    await usage.close()


def spend(quotas: Quotas, usd: str) -> None:
    quotas.admit(ANN)
    quotas.reserve(events.Exchange(key_id="ann", attempts=[events.Attempt(cost_usd=usd)]), a_task(**FREE))()


def refused(quotas: Quotas) -> Callable[[], bool]:
    def over() -> bool:
        try:
            quotas.admit(ANN)
        except OverQuota:
            return True
        return False

    return over


async def test_what_one_gateway_spends_is_known_to_the_other(broker: FakeBroker) -> None:
    async with gateway(broker, "a") as one, gateway(broker, "b") as other:
        spend(other, "0.5")
        spend(one, "0.5")
        await until(refused(one))
        await until(refused(other))


async def test_what_was_spent_is_known_after_a_restart(broker: FakeBroker) -> None:
    async with gateway(broker, "a") as before:
        spend(before, "1.0")
    async with gateway(broker, "b") as after:
        await until(lambda: after.known)
        with pytest.raises(OverQuota):
            after.admit(ANN)


async def test_a_gateway_that_stops_says_the_last(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "TELL_EVERY_S", 3600.0)
    async with gateway(broker, "a") as quotas:
        await until(lambda: quotas.known)
        spend(quotas, "0.25")
    [record] = broker.records(KEY_USAGE.name)
    assert (record.key, decode(record).cost_usd) == (b"ann/a/2026-11-29", "0.25")


async def test_while_kafka_is_away_the_count_goes_on_and_is_told_when_it_is_back(broker: FakeBroker) -> None:
    async with gateway(broker, "a") as quotas:
        await until(lambda: quotas.known)
        broker.away = True
        for _ in range(3):
            spend(quotas, "0.1")
            await asyncio.sleep(0.01)
        broker.away = False
        broker.say_changed()
        await until(lambda: [decode(one).cost_usd for one in broker.records(KEY_USAGE.name)][-1:] == ["0.3"])


async def test_earlier_months_are_taken_from_the_topic(broker: FakeBroker) -> None:
    for day in ("2026-10-31", "2026-11-01"):
        broker.append(encode(KEY_USAGE, events.KeyUsage(key_id="ann", source="x", day=day, cost_usd="1")))
    [old, _] = sorted(broker.records(KEY_USAGE.name), key=lambda record: record.key)
    buried: list[tuple[str, int]] = []
    async with gateway(broker, "a", buried):
        await until(lambda: buried)
    assert buried == [("ann/x/2026-10-31", old.partition)]


async def test_what_can_not_be_read_is_skipped(broker: FakeBroker) -> None:
    dead = telemetry.DEAD.labels(KEY_USAGE.name)._value
    before = dead.get()
    broker.append(encode(KEY_USAGE, events.KeyUsage(key_id="ann", source="x", day="2026-11-29", cost_usd="much")))
    broker.append(Record(KEY_USAGE.name, b"k", b"\xff"))
    async with gateway(broker, "a") as quotas:
        await until(lambda: quotas.known)
    assert dead.get() == before + 2


def test_what_a_full_queue_does_not_take_is_told_when_there_is_room(broker: FakeBroker) -> None:
    quotas, producer = Quotas("a", wall_s=NOON.timestamp), FakeProducer(broker, queue_records=0)
    quotas.known = True
    usage = Usage(quotas, FakeFollower(broker, KEY_USAGE.name), producer, lambda _old: None)
    spend(quotas, "0.5")
    usage._tell()
    producer._room = 1
    usage._tell()
    producer.flush(1.0)
    assert [decode(one).cost_usd for one in broker.records(KEY_USAGE.name)] == ["0.5"]
