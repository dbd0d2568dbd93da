"""The gateway killed in the middle of its calls: what it answered is on its disk, and comes to Kafka after all."""

import random
import time
from typing import Final

import pytest

from tests.drills.conftest import Fails, Holds
from tests.drills.world import World

EARLY: Final = "tests.drills.broken.gateway Early"
# Records wait so long for company before they leave for Kafka: each kill meets some that are on disk alone.
LINGERS: Final = {"KAFKA_OPTIONS": '{"linger.ms": "200"}'}

TIMES: Final = 3


def killed(world: World, dice: random.Random, times: int, build: str = "") -> None:
    world.start("gateway", build=build, **LINGERS)
    world.start("sink")
    with world.load():
        for _ in range(times):
            wait_for_a_moment(world, dice)
            world.kill("gateway")
            world.restart("gateway")
        world.answers_again()


def wait_for_a_moment(world: World, dice: random.Random, within_s: float = 1.5) -> None:
    """Any moment after it has answered."""
    world.answers_again()
    time.sleep(dice.uniform(0.0, within_s))


def killed_without_kafka(world: World, build: str = "") -> None:
    world.start("gateway", build=build)
    world.start("sink")
    with world.load():
        world.answers_again()
        world.kafka.kill()
        time.sleep(2)
        world.kill("gateway")
        world.kafka.start()
        world.kafka.wait()
        world.restart("gateway")
        world.answers_again()


@pytest.mark.quick_drill
def test_a_gateway_killed_at_random_moments_loses_no_answer(fresh: World, dice: random.Random, holds: Holds) -> None:
    killed(fresh, dice, TIMES)
    found = holds(fresh)
    assert found.kafka.sources == TIMES + 1


@pytest.mark.quick_drill
def test_without_its_spool_it_loses_answers(shared: World, dice: random.Random, fails: Fails) -> None:
    killed(shared, dice, 2, EARLY)
    fails(shared)


@pytest.mark.drill
def test_a_gateway_killed_while_kafka_is_away_loses_no_answer(fresh: World, holds: Holds) -> None:
    killed_without_kafka(fresh)
    holds(fresh)


@pytest.mark.drill
def test_without_its_spool_it_loses_what_it_answered_meanwhile(shared: World, fails: Fails) -> None:
    killed_without_kafka(shared, EARLY)
    fails(shared)
