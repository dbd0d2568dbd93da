"""The spool and the promotions on a real broker that comes late and hangs for a while."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import broker
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from protos import events_pb2 as events
from services.gateway.promotions import Promotions
from services.gateway.spool import Fsync, Spool
from services.kafka import Follower, Producer, create_topics
from services.settings import KafkaSettings
from services.topics import PROMOTIONS, decode, encode
from tests.fixtures.engines import accepting, started

pytestmark = pytest.mark.contract


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.02)


def sequences(settings: KafkaSettings) -> list[int]:
    follower = Follower(settings, "exchanges")
    follower.start(5)
    found: list[int] = []
    while not follower.caught_up():
        found += [decode(record).sequence for record in follower.poll(500, 0.2)]
    follower.close()
    return found


async def append(spool: Spool, count: int) -> None:
    await asyncio.gather(*(spool.append_exchange(events.Exchange(id=f"{n}")) for n in range(count)))


async def test_a_broker_that_comes_late_and_hangs_costs_no_exchange(tmp_path: Path) -> None:
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    settings = KafkaSettings(kafka_bootstrap_servers=address)
    part = Part("broker", tuple(broker.command(port)), accepting(address))
    spool = Spool.open(tmp_path / "spool", Producer(settings), 64 * 2**20, Fsync.INTERVAL)
    await append(spool, 100)
    with started(part, tmp_path / "broker.log") as running:
        await until(lambda: spool.waiting_bytes == 0)
        os.kill(running.identity.pid, signal.SIGSTOP)
        try:
            await append(spool, 100)
            assert spool.waiting_bytes > 0
        finally:
            os.kill(running.identity.pid, signal.SIGCONT)
        await until(lambda: spool.waiting_bytes == 0)
        await spool.close()
        assert sorted(await asyncio.to_thread(sequences, settings)) == list(range(1, 201))


async def test_an_exchange_above_kafkas_limit_arrives_cut_and_none_is_missing(tmp_path: Path) -> None:
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    settings = KafkaSettings(kafka_bootstrap_servers=address)
    with started(Part("broker", tuple(broker.command(port)), accepting(address)), tmp_path / "broker.log"):
        await asyncio.to_thread(create_topics, settings, 1)
        spool = Spool.open(tmp_path / "spool", Producer(settings), 64 * 2**20, Fsync.INTERVAL)
        await append(spool, 10)
        await spool.append_exchange(events.Exchange(id="large", error="x" * (5 * 2**20)))
        await append(spool, 10)
        await until(lambda: spool.waiting_bytes == 0)
        await spool.close()
        assert sorted(await asyncio.to_thread(sequences, settings)) == list(range(1, 22))
    [whole] = (tmp_path / "spool" / "refused").iterdir()
    assert whole.stat().st_size > 5 * 2**20


async def test_a_promotion_takes_effect_from_a_real_topic(tmp_path: Path) -> None:
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    settings = KafkaSettings(kafka_bootstrap_servers=address)
    part = Part("broker", tuple(broker.command(port)), accepting(address))
    promotions = Promotions(settings)
    await promotions.start(0.2)
    assert promotions.current("address") is None
    with started(part, tmp_path / "broker.log"):
        await asyncio.to_thread(create_topics, settings, 2)
        producer = Producer(settings)
        for version in (1, 2):
            made = events.Promotion(task="address", student_version=version, reason="proven")
            made.policy.kind = events.POLICY_KIND_CASCADE
            made.decided_at.GetCurrentTime()
            producer.send(encode(PROMOTIONS, made))
        assert await asyncio.to_thread(producer.flush, 10) == 0
        await until(lambda: (promotions.current("address") or events.Promotion()).student_version == 2)
    await promotions.close()
