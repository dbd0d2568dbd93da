"""The gateway killed in the middle of its calls: what it answered is on its disk, and comes to Kafka after all."""

import random
import time

import pytest

from tests.drills.conftest import Holds
from tests.drills.world import World

often = pytest.mark.parametrize(
    "times",
    [
        pytest.param(3, marks=pytest.mark.quick_drill),
        pytest.param(50, marks=[pytest.mark.drill, pytest.mark.timeout(1_200)]),
    ],
)


@often
def test_a_gateway_killed_at_random_moments_loses_no_answer(
    fresh: World, dice: random.Random, holds: Holds, times: int
) -> None:
    fresh.start("gateway", "sink")
    with fresh.load():
        for _ in range(times):
            fresh.answers_again()
            time.sleep(dice.uniform(0.0, 1.5))
            fresh.kill("gateway")
            fresh.restart("gateway")
        fresh.answers_again()
    found = holds(fresh)
    assert found.kafka.sources == times + 1
