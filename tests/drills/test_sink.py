"""The sink killed in the middle of its batches: it commits after it has inserted, so nothing is passed over."""

import random
import time

import pytest

from deploy.local.processes import wait_until
from tests.drills.clickhouse_faults import ClickHouseFaults, clickhouse_faults
from tests.drills.conftest import Holds
from tests.drills.world import SESSION, World

often = pytest.mark.parametrize(
    "times",
    [
        pytest.param(3, marks=pytest.mark.quick_drill),
        pytest.param(100, marks=[pytest.mark.drill, pytest.mark.timeout(1_200)]),
    ],
)


@often
def test_a_sink_killed_at_random_moments_misses_and_doubles_nothing(
    fresh: World, dice: random.Random, holds: Holds, times: int
) -> None:
    front = fresh.loop.keep(clickhouse_faults(fresh.clickhouse_url))
    fresh.start("gateway")
    fresh.start("sink", CLICKHOUSE_URL=front.url, SINK_BATCH_AGE_S="0.2", **SESSION)
    with fresh.load():
        for number in range(times):
            wait_for_a_moment(front, dice, in_an_insert=number % 2 == 0)
            fresh.kill("sink")
            fresh.restart("sink")
    holds(fresh, all_answered=True)


def wait_for_a_moment(front: ClickHouseFaults, dice: random.Random, *, in_an_insert: bool) -> None:
    """Any moment, or one between the start of an insert and its commit."""
    if in_an_insert:
        assert wait_until(lambda: front.inserting > 0, 60, every_s=0.002)
        time.sleep(dice.uniform(0, 0.03))
    else:
        time.sleep(dice.uniform(0, 1.5))
