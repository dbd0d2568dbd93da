"""Brokers killed, one or all: calls go on being answered, and the spool brings everything after."""

import time

import psutil
import pytest

from deploy.local.processes import wait_until
from services.kafka import Consumer, Producer
from services.topics import EXCHANGES, Record
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

AWAY_S = 130.0
MIB = 2**20
# What is in flight to Kafka, 16 MiB, once as records and once in librdkafka's queue; and the allocator's own.
MEMORY_MAY_GROW_BYTES = 64 * MIB


@pytest.mark.drill
def test_a_lone_broker_killed_and_restarted_costs_no_call(fresh: World, holds: Holds) -> None:
    fresh.start("gateway", "sink")
    with fresh.load():
        time.sleep(2)
        fresh.kafka.kill()
        time.sleep(2)
        fresh.kafka.start()
        fresh.kafka.wait()
        time.sleep(2)
    holds(fresh, all_answered=True)


@pytest.mark.drill
def test_a_member_paused_while_its_broker_dies_reads_on_when_it_resumes(fresh: World) -> None:
    """As the sink, whose commit fails in the outage: librdkafka keeps a partition paused that went and came back."""
    consumer, producer = Consumer(fresh.kafka_settings, "g", [EXCHANGES.name]), Producer(fresh.kafka_settings)
    producer.send(Record(EXCHANGES.name, b"", b"before"))
    assert wait_until(lambda: [one.value for one in consumer.poll(10, 0.1)] == [b"before"], 30)
    consumer.pause()
    fresh.kafka.kill()
    time.sleep(2)
    fresh.kafka.start()
    fresh.kafka.wait()
    wait_until(lambda: not consumer.poll(10, 0.1) and not consumer.owned(), 10)
    consumer.resume()
    producer.send(Record(EXCHANGES.name, b"", b"after"))
    assert producer.flush(30) == 0
    assert wait_until(lambda: b"after" in [one.value for one in consumer.poll(10, 0.1)], 30)
    consumer.close()


@pytest.mark.drill
def test_each_of_three_brokers_killed_in_turn_costs_no_call(cluster: World, holds: Holds) -> None:
    cluster.start("gateway", "sink")
    with cluster.load():
        for broker in cluster.kafka.brokers:
            time.sleep(3)
            broker.kill()
            time.sleep(8)
            broker.start()
            cluster.kafka.wait()
    holds(cluster, all_answered=True)


@pytest.mark.drill
@pytest.mark.timeout(600)
def test_all_brokers_away_for_longer_than_two_minutes_cost_disk_and_no_memory(
    cluster: World, holds: Holds, say: Say
) -> None:
    cluster.start("gateway", "sink")
    with cluster.load(text_bytes=30_000):
        time.sleep(10)
        before = psutil.Process(cluster.pid("gateway")).memory_info().rss
        answered = len(cluster.calls.answered)
        cluster.kafka.kill()
        time.sleep(AWAY_S)
        spooled = sum(file.stat().st_size for file in (cluster.folder / "gateway" / "spool").glob("*.seg"))
        grown = psutil.Process(cluster.pid("gateway")).memory_info().rss - before
        meanwhile = len(cluster.calls.answered) - answered
        cluster.kafka.start()
        cluster.kafka.wait()
    holds(cluster, all_answered=True)
    say(f"{meanwhile} answered with Kafka away; spooled {spooled // MIB} MiB, memory grew by {grown // MIB} MiB")
    assert meanwhile > AWAY_S
    assert grown < MEMORY_MAY_GROW_BYTES < spooled
