"""ClickHouse away, slow or refusing: the sink waits, keeps its place in the group, and goes on by itself."""

import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.drills import audit
from tests.drills.clickhouse_faults import READ_ONLY, SHORT_OF_MEMORY, ClickHouseFaults, clickhouse_faults
from tests.drills.conftest import Fails, Holds, Say
from tests.drills.world import World

LASTS_S: Final = 12.0
TIMEOUT_S: Final = 3.0
DROPPING: Final = "tests.drills.broken.sink Dropping"
DOUBLING: Final = "tests.drills.broken.sink Doubling"

pytestmark = pytest.mark.drill

Fault = Callable[[ClickHouseFaults], None]


def set_to(**fields: object) -> Fault:
    return lambda front: front.__dict__.update(fields)


LOST_ANSWERS: Final = set_to(loses_answers=True)
FAULTS: Final = {
    "read-only": set_to(settings=READ_ONLY),
    "short of memory": set_to(settings=SHORT_OF_MEMORY),
    "refusing": set_to(upstream="http://127.0.0.1:1"),
    "slow": set_to(delay_s=2.0),
    "hanging": set_to(delay_s=3_600.0),
    "answers lost": LOST_ANSWERS,
}


def killed(world: World, away_s: float, build: str = "") -> None:
    world.start("gateway")
    world.start("sink", build=build)
    with world.load():
        audit.rows_arrive(world)
        world.kill("clickhouse")
        time.sleep(away_s)
        world.restart("clickhouse")
        time.sleep(1)


def with_front(world: World, build: str = "", timeout_s: float = TIMEOUT_S) -> ClickHouseFaults:
    """A gateway, and a sink with a front before ClickHouse."""
    front = world.loop.keep(clickhouse_faults(world.clickhouse_url))
    world.start("gateway")
    world.start("sink", build=build, CLICKHOUSE_URL=front.url, CLICKHOUSE_TIMEOUT_S=str(timeout_s))
    return front


def suffer(world: World, front: ClickHouseFaults, fault: Fault, lasts_s: float) -> bool:
    """Whether the sink was paused in the end."""
    sound = dict(front.__dict__)
    audit.rows_arrive(world)
    fault(front)
    time.sleep(lasts_s)
    refused, paused = front.refused, audit.paused(world)
    front.__dict__.update(sound, refused=refused, lost_answers=front.lost_answers)
    time.sleep(1)
    return paused


@pytest.mark.quick_drill
def test_a_killed_clickhouse_is_waited_for(fresh: World, holds: Holds) -> None:
    killed(fresh, 3)
    holds(fresh, all_answered=True)


def test_who_does_not_wait_for_it_loses_rows(shared: World, fails: Fails) -> None:
    killed(shared, 2, DROPPING)
    fails(shared)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_clickhouse_is_waited_for(fresh: World, holds: Holds, say: Say, fault: str) -> None:
    front = with_front(fresh)
    with fresh.load():
        paused = suffer(fresh, front, FAULTS[fault], LASTS_S)
    holds(fresh, all_answered=True)
    say(f"{front.refused} inserts refused, {front.lost_answers} answers lost, {'' if paused else 'not '}paused")
    assert not audit.paused(fresh)


def test_who_does_not_wait_loses_rows_in_each_fault(shared: World, fails: Fails) -> None:
    front, lost = with_front(shared, DROPPING, timeout_s=1), 0
    for fault in FAULTS.values():
        if fault is not LOST_ANSWERS:  # Nothing is lost there but the answer; see below.
            with shared.load():
                suffer(shared, front, fault, 2)
            found = fails(shared, more_than=lost)
            lost = len(found.lost)


def test_who_repeats_a_batch_without_a_token_into_a_table_that_does_not_fold_doubles(
    shared: World, fails: Fails
) -> None:
    front = with_front(shared, DOUBLING)
    with shared.load():
        suffer(shared, front, LOST_ANSWERS, 2)
    fails(shared, twice=True)
