"""Sinks that join, leave and die under load: partitions change hands, and no row is lost or doubled."""

import random
import time

import pytest

from tests.drills.conftest import Holds
from tests.drills.world import World

ROUNDS = 8
SINKS = ("sink-1", "sink-2", "sink-3")

pytestmark = pytest.mark.drill


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_sinks_that_come_and_go_lose_and_double_nothing(
    fresh: World, dice: random.Random, holds: Holds, protocol: str
) -> None:
    fresh.start("gateway")
    fresh.start(*SINKS, KAFKA_GROUP_PROTOCOL=protocol, SINK_BATCH_AGE_S="0.3")
    with fresh.load():
        for _ in range(ROUNDS):
            time.sleep(dice.uniform(0.5, 2))
            one = dice.choice(SINKS)
            fresh.kill(one) if dice.random() < 0.4 else fresh.stop(one)
            time.sleep(dice.uniform(0, 1))
            fresh.restart(one)
    holds(fresh, all_answered=True)
