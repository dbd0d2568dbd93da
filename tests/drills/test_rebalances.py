"""Sinks that join, leave and die under load: partitions change hands, and no row is lost or doubled."""

import random
import time
from collections.abc import Sequence

import pytest

from tests.drills import audit
from tests.drills.conftest import Fails, Holds
from tests.drills.world import World

SINKS = ("sink-1", "sink-2", "sink-3")

pytestmark = pytest.mark.drill

HASTY = "tests.drills.broken.sink Hasty"

each = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def come_and_go(world: World, dice: random.Random, stops: Sequence[bool], build: str = "", **sinks: str) -> None:
    """One leaves and returns for each of `stops`: told to stop, or killed."""
    world.start("gateway")
    world.start(*SINKS, build=build, **sinks)
    with world.load():
        audit.rows_arrive(world)
        for told in stops:
            time.sleep(dice.uniform(0.5, 2))
            one = dice.choice(SINKS)
            world.stop(one) if told else world.kill(one)
            time.sleep(dice.uniform(0, 1))
            world.restart(one)


@each
def test_sinks_that_come_and_go_lose_and_double_nothing(
    fresh: World, dice: random.Random, holds: Holds, protocol: str
) -> None:
    come_and_go(fresh, dice, [True, False] * 4, KAFKA_GROUP_PROTOCOL=protocol, SINK_BATCH_AGE_S="0.3")
    holds(fresh, all_answered=True)


@each
def test_sinks_that_commit_before_they_insert_lose_rows(
    shared: World, dice: random.Random, fails: Fails, protocol: str
) -> None:
    come_and_go(shared, dice, [False] * 6, HASTY, KAFKA_GROUP_PROTOCOL=protocol, SINK_BATCH_AGE_S="2")
    fails(shared)
