"""The sink killed in the middle of its batches: it commits after it has inserted, so nothing is passed over."""

import random
import time
from typing import Final

import pytest

from deploy.local.processes import wait_until
from tests.drills.clickhouse_faults import ClickHouseFaults, clickhouse_faults
from tests.drills.conftest import Fails, Holds
from tests.drills.world import SESSION, World

HASTY: Final = "tests.drills.broken.sink Hasty"
INSERT_TAKES_S: Final = 0.1
TIMES: Final = 3


def killed(
    world: World, dice: random.Random, times: int, build: str = "", insert_takes_s: float = INSERT_TAKES_S
) -> None:
    front = world.loop.keep(clickhouse_faults(world.clickhouse_url))
    front.delay_s = insert_takes_s
    world.start("gateway")
    world.start("sink", build=build, CLICKHOUSE_URL=front.url, SINK_BATCH_AGE_S="0.2", **SESSION)
    with world.load():
        for number in range(times):
            wait_for_a_moment(front, dice, in_an_insert=number % 2 == 0)
            world.kill("sink")
            world.restart("sink")


@pytest.mark.quick_drill
def test_a_sink_killed_at_random_moments_misses_and_doubles_nothing(
    fresh: World, dice: random.Random, holds: Holds
) -> None:
    killed(fresh, dice, TIMES)
    holds(fresh, all_answered=True)


@pytest.mark.quick_drill
def test_one_that_commits_before_it_inserts_loses_rows(shared: World, dice: random.Random, fails: Fails) -> None:
    killed(shared, dice, 1, HASTY, insert_takes_s=1.0)
    fails(shared)


def wait_for_a_moment(front: ClickHouseFaults, dice: random.Random, *, in_an_insert: bool) -> None:
    """Any moment, or one between the start of an insert and its commit: before, while or after ClickHouse has it."""
    if in_an_insert:
        assert wait_until(lambda: front.inserting > 0, 60, every_s=0.002)
        time.sleep(dice.uniform(0, 1.3 * INSERT_TAKES_S))
    else:
        time.sleep(dice.uniform(0, 1.5))
