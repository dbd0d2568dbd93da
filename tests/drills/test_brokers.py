"""Brokers killed, one or all: calls go on being answered, and the spool brings everything after."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil
import pytest

from deploy.local.processes import wait_until
from services.kafka import Consumer, Producer
from services.topics import EXCHANGES, Record
from tests.drills.conftest import Fails, Holds, Say
from tests.drills.world import World
from tests.fixtures.apache_kafka import Broker

AWAY_S: Final = 130.0
MIB: Final = 2**20
# What is in flight to Kafka, 16 MiB, once as records and once in librdkafka's queue; and the allocator's own.
MEMORY_MAY_GROW_BYTES: Final = 64 * MIB
GIVES_UP: Final = "tests.drills.broken.gateway GivesUp"

pytestmark = pytest.mark.drill


def killed(world: World, brokers: Sequence[Broker], away_s: float, build: str = "") -> None:
    """One after the other."""
    world.start("gateway", build=build)
    world.start("sink")
    with world.load():
        for broker in brokers:
            world.answers_again()
            broker.kill()
            time.sleep(away_s)
            broker.start()
            world.kafka.wait()
        world.answers_again()


@pytest.mark.quick_drill
def test_a_lone_broker_killed_and_restarted_costs_no_call(fresh: World, holds: Holds) -> None:
    killed(fresh, fresh.kafka.brokers, away_s=2)
    holds(fresh, all_answered=True)


def test_a_producer_that_gives_up_loses_answers(shared: World, fails: Fails) -> None:
    killed(shared, shared.kafka.brokers, away_s=2, build=GIVES_UP)
    fails(shared)


def test_each_of_three_brokers_killed_in_turn_costs_no_call(cluster: World, holds: Holds) -> None:
    killed(cluster, cluster.kafka.brokers, away_s=8)
    holds(cluster, all_answered=True)


def test_a_producer_that_gives_up_loses_answers_with_one_of_three_brokers(cluster: World, fails: Fails) -> None:
    killed(cluster, cluster.kafka.brokers[:1], away_s=4, build=GIVES_UP)
    fails(cluster)


class Careless(Consumer):
    """Resumes what it has at that moment."""

    def resume(self) -> None:
        self._held.clear()
        self._consumer.resume(self._consumer.assignment())


def reads_on(world: World, kind: type[Consumer], within_s: float) -> bool:
    """Whether a member that was paused while its broker died reads what comes after."""
    consumer, producer = kind(world.kafka_settings, "g", [EXCHANGES.name]), Producer(world.kafka_settings)
    producer.send(Record(EXCHANGES.name, b"", b"before"))
    assert wait_until(lambda: [one.value for one in consumer.poll(10, 0.1)] == [b"before"], 30)
    consumer.pause()
    world.kafka.kill()
    time.sleep(2)
    world.kafka.start()
    world.kafka.wait()
    wait_until(lambda: not consumer.poll(10, 0.1) and not consumer.owned(), 10)
    consumer.resume()
    producer.send(Record(EXCHANGES.name, b"", b"after"))
    assert producer.flush(30) == 0
    read = wait_until(lambda: b"after" in [one.value for one in consumer.poll(10, 0.1)], within_s)
    consumer.close()
    return read


def test_a_member_paused_while_its_broker_dies_reads_on_when_it_resumes(fresh: World) -> None:
    """As the sink, whose commit fails in the outage: librdkafka keeps a partition paused that went and came back."""
    assert reads_on(fresh, Consumer, within_s=30)


def test_one_that_resumes_what_it_has_at_that_moment_does_not(shared: World) -> None:
    assert not reads_on(shared, Careless, within_s=10)


@dataclass(frozen=True)
class Outage:
    answered: int
    spooled_bytes: int
    grown_bytes: int
    """The gateway's memory."""


def all_away(world: World, away_s: float, rate_per_s: float = 40, build: str = "", until_bytes: int = 0) -> Outage:
    """For so long, and until so much is in the spool."""

    def spooled_bytes() -> int:
        return sum(file.stat().st_size for file in (world.folder / "gateway" / "spool").glob("*.seg"))

    world.start("gateway", build=build)
    world.start("sink")
    with world.load(rate_per_s, text_bytes=30_000):
        time.sleep(away_s / 13)
        before = psutil.Process(world.pid("gateway")).memory_info().rss
        answered = len(world.calls.answered)
        world.kafka.kill()
        time.sleep(away_s)
        assert wait_until(lambda: spooled_bytes() >= until_bytes, 60)
        found = Outage(
            len(world.calls.answered) - answered,
            spooled_bytes(),
            psutil.Process(world.pid("gateway")).memory_info().rss - before,
        )
        world.kafka.start()
        world.kafka.wait()
    return found


@pytest.mark.timeout(600)
def test_all_brokers_away_for_longer_than_two_minutes_cost_disk_and_no_memory(
    cluster: World, holds: Holds, say: Say
) -> None:
    found = all_away(cluster, AWAY_S)
    holds(cluster, all_answered=True)
    spooled, grown = found.spooled_bytes, found.grown_bytes
    say(f"{found.answered} answered with Kafka away; spooled {spooled // MIB} MiB, memory grew by {grown // MIB} MiB")
    assert found.answered > AWAY_S
    assert grown < MEMORY_MAY_GROW_BYTES < spooled


def test_a_gateway_that_sends_all_that_it_spools_costs_memory(shared: World, say: Say) -> None:
    greedy = "tests.drills.broken.gateway Greedy"
    found = all_away(shared, 4, 200, greedy, until_bytes=2 * MEMORY_MAY_GROW_BYTES)
    say(f"spooled {found.spooled_bytes // MIB} MiB, memory grew by {found.grown_bytes // MIB} MiB")
    assert found.grown_bytes > MEMORY_MAY_GROW_BYTES
