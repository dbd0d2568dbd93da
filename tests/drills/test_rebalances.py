"""Sinks that join, leave and die under load: partitions change hands, and no row is lost or doubled."""

import random
import time

import pytest

from tests.drills import audit
from tests.drills.conftest import Fails, Holds
from tests.drills.world import World

ROUNDS = 8
SINKS = ("sink-1", "sink-2", "sink-3")

pytestmark = pytest.mark.drill

HASTY = "tests.drills.broken.sink Hasty"

each = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def come_and_go(world: World, dice: random.Random, rounds: int, build: str = "", **sinks: str) -> None:
    world.start("gateway")
    world.start(*SINKS, build=build, **sinks)
    with world.load():
        audit.rows_arrive(world)
        for number in range(rounds):
            time.sleep(dice.uniform(0.5, 2))
            one = dice.choice(SINKS)
            world.kill(one) if number % 2 else world.stop(one)
            time.sleep(dice.uniform(0, 1))
            world.restart(one)


@each
def test_sinks_that_come_and_go_lose_and_double_nothing(
    fresh: World, dice: random.Random, holds: Holds, protocol: str
) -> None:
    come_and_go(fresh, dice, ROUNDS, KAFKA_GROUP_PROTOCOL=protocol, SINK_BATCH_AGE_S="0.3")
    holds(fresh, all_answered=True)


@each
def test_sinks_that_commit_before_they_insert_lose_rows(
    shared: World, dice: random.Random, fails: Fails, protocol: str
) -> None:
    come_and_go(shared, dice, 4, HASTY, KAFKA_GROUP_PROTOCOL=protocol, SINK_BATCH_AGE_S="2")
    fails(shared)
