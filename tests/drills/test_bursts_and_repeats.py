"""Ten times the rate, and records that come twice and out of order."""

import random
import time

import pytest

from services.kafka import Producer
from services.topics import EXCHANGES
from tests.drills import audit
from tests.drills.conftest import Fails, Holds
from tests.drills.world import World

pytestmark = pytest.mark.drill


def a_burst(world: World, lasts_s: float, build: str = "") -> None:
    world.start("gateway", build=build)
    world.start("sink")
    for rate_per_s in (20, 200, 20):
        with world.load(rate_per_s):
            time.sleep(lasts_s * (rate_per_s // 100 or 1))


def produced_again(world: World, dice: random.Random, build: str = "") -> int:
    """Every record twice more; returns how many there were."""
    world.start("gateway")
    world.start("sink", build=build)
    with world.load(100):
        time.sleep(3)
    assert audit.equality(world, "before").problems() == []
    records = audit.records(world, EXCHANGES.name)
    again = records * 2
    dice.shuffle(again)
    producer = Producer(world.kafka_settings)
    for record in again:
        producer.send(record)
    assert producer.flush(30) == 0
    return len(records)


def test_a_burst_of_ten_times_the_rate_ends_every_call(fresh: World, holds: Holds) -> None:
    a_burst(fresh, 5)
    holds(fresh, all_answered=True)


def test_a_queue_that_drops_what_finds_no_room_loses_answers_in_it(shared: World, fails: Fails) -> None:
    a_burst(shared, 1, "tests.drills.broken.gateway DropsWhenFull")
    fails(shared)


def test_exchanges_produced_again_out_of_order_count_once(fresh: World, dice: random.Random, holds: Holds) -> None:
    records = produced_again(fresh, dice)
    assert holds(fresh, all_answered=True).kafka.records == 3 * records


def test_they_count_twice_in_a_table_that_does_not_fold(shared: World, dice: random.Random, fails: Fails) -> None:
    produced_again(shared, dice, "tests.drills.broken.sink Doubling")
    fails(shared, twice=True)
