"""What serves a task follows the topic, by itself, whatever else lies on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from protos import events_pb2 as events
from services import telemetry
from services.gateway.promotions import Promotions
from services.settings import KafkaSettings
from services.topics import PROMOTIONS, Record, encode
from tests.fakes.kafka import FakeBroker, FakeFollower


def promotion(version: int, decided_s: int, task: str = "address", kind: Any = events.POLICY_KIND_CASCADE) -> Record:
    decided = events.Promotion(task=task, student_version=version, policy=events.Policy(kind=kind), reason="because")
    decided.decided_at.seconds = decided_s
    return encode(PROMOTIONS, decided)


@asynccontextmanager
async def following(broker: FakeBroker, wait_s: float = 5.0) -> AsyncIterator[Promotions]:
    promotions = Promotions(KafkaSettings(), FakeFollower(broker, "promotions"))
    await promotions.start(wait_s)
    try:
        yield promotions
    finally:
        await promotions.close()


def broker_with(*records: Record) -> FakeBroker:
    broker = FakeBroker()
    broker.create_topics()
    for record in records:
        broker.append(record)
    return broker


async def until_version(promotions: Promotions, version: int) -> None:
    while version_of(promotions) != version:  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.01)


def version_of(promotions: Promotions, task: str = "address") -> int | None:
    current = promotions.current(task)
    return current.student_version if current else None


async def test_the_latest_promotion_of_each_task_is_known_when_the_start_returns() -> None:
    async with following(broker_with(promotion(1, 10), promotion(2, 20), promotion(7, 5, "labels"))) as promotions:
        assert version_of(promotions) == 2
        assert version_of(promotions, "labels") == 7
        assert promotions.current("unknown") is None


async def test_a_promotion_decided_earlier_but_read_later_changes_nothing() -> None:
    async with following(broker_with(promotion(2, 20), promotion(1, 10))) as promotions:
        assert version_of(promotions) == 2


async def test_of_two_decided_at_the_same_time_the_later_one_on_the_topic_counts() -> None:
    async with following(broker_with(promotion(1, 10), promotion(2, 10))) as promotions:
        assert version_of(promotions) == 2


async def test_a_new_promotion_takes_effect_without_a_restart() -> None:
    broker = broker_with(promotion(1, 10))
    async with following(broker) as promotions:
        broker.append(promotion(3, 30))
        broker.say_changed()
        await until_version(promotions, 3)
        assert telemetry.PROMOTED_VERSION.labels("address")._value.get() == 3


async def test_what_cannot_be_read_is_counted_and_skipped() -> None:
    dead = telemetry.DEAD.labels("promotions")._value
    before = dead.get()
    unreadable = Record("promotions", b"address", b"\xff\xff")
    nameless, kindless = promotion(5, 50, task=""), promotion(6, 60, kind=0)
    async with following(broker_with(unreadable, nameless, kindless, promotion(1, 10))) as promotions:
        assert version_of(promotions) == 1
    assert dead.get() == before + 3


async def test_kafka_away_at_the_start_means_none_and_it_is_followed_once_it_is_back() -> None:
    broker = broker_with(promotion(1, 10))
    broker.away = True
    async with following(broker, wait_s=0.05) as promotions:
        assert promotions.current("address") is None
        broker.away = False
        await until_version(promotions, 1)


async def test_closing_while_kafka_is_away_does_not_hang() -> None:
    broker = FakeBroker(away=True)
    async with following(broker, wait_s=0.01):
        pass
