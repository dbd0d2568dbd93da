"""ClickHouse away, slow or refusing: the sink waits, keeps its place in the group, and goes on by itself."""

import time
from collections.abc import Callable

import pytest

from tests.drills import audit
from tests.drills.clickhouse_faults import READ_ONLY, SHORT_OF_MEMORY, ClickHouseFaults, clickhouse_faults
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

LASTS_S = 12.0
TIMEOUT_S = 3.0


pytestmark = pytest.mark.drill


def set_to(**fields: object) -> Callable[[ClickHouseFaults], None]:
    return lambda front: front.__dict__.update(fields)


def test_a_killed_clickhouse_is_waited_for(fresh: World, holds: Holds) -> None:
    fresh.start("gateway", "sink")
    with fresh.load():
        time.sleep(3)
        fresh.kill("clickhouse")
        time.sleep(3)
        fresh.restart("clickhouse")
        time.sleep(1)
    holds(fresh, all_answered=True)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(set_to(settings=READ_ONLY), id="read-only"),
        pytest.param(set_to(settings=SHORT_OF_MEMORY), id="short of memory"),
        pytest.param(set_to(upstream="http://127.0.0.1:1"), id="refusing"),
        pytest.param(set_to(delay_s=2.0), id="slow"),
        pytest.param(set_to(delay_s=3_600.0), id="hanging"),
        pytest.param(set_to(loses_answers=True), id="answers lost"),
    ],
)
def test_a_faulty_clickhouse_is_waited_for(
    fresh: World, holds: Holds, say: Say, fault: Callable[[ClickHouseFaults], None]
) -> None:
    front = fresh.loop.keep(clickhouse_faults(fresh.clickhouse_url))
    sound = dict(front.__dict__)
    fresh.start("gateway", "sink", CLICKHOUSE_URL=front.url, CLICKHOUSE_TIMEOUT_S=str(TIMEOUT_S))
    with fresh.load():
        time.sleep(3)
        fault(front)
        time.sleep(LASTS_S)
        refused = front.refused
        paused = audit.paused(fresh)
        front.__dict__.update(sound, refused=refused, lost_answers=front.lost_answers)
        time.sleep(1)
    holds(fresh, all_answered=True)
    say(f"{refused} inserts refused, {front.lost_answers} answers lost, {'' if paused else 'not '}paused")
    assert not audit.paused(fresh)
