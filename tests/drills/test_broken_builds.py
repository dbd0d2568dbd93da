"""The drills can fail: the same fault that a sound build survives makes a wrong one lose, and the audit sees it."""

import time

import pytest

from deploy.local.processes import wait_until
from tests.drills import audit
from tests.drills.clickhouse_faults import clickhouse_faults
from tests.drills.conftest import Holds, Say
from tests.drills.ledger import Equality
from tests.drills.world import SESSION, World

LOST_FOR_SURE_S = 8.0


def the_sink_is_killed_in_an_insert(world: World, build: str) -> None:
    front = world.loop.keep(clickhouse_faults(world.clickhouse_url))
    world.start("gateway")
    world.start("sink", build=build, CLICKHOUSE_URL=front.url, SINK_BATCH_AGE_S="0.2", **SESSION)
    with world.load():
        assert wait_until(lambda: bool(audit.number(world, "SELECT count() AS n FROM exchanges")), 30, every_s=0.2)
        front.delay_s = 2.0
        assert wait_until(lambda: front.held > 0, 30, every_s=0.01)
        world.kill("sink")
        front.delay_s = 0.0
        world.restart("sink")
        time.sleep(1)


def the_gateway_is_killed_without_kafka(world: World, build: str) -> None:
    world.start("gateway", build=build)
    world.start("sink")
    with world.load():
        time.sleep(2)
        world.kafka.kill()
        time.sleep(2)
        world.kill("gateway")
        world.kafka.start()
        world.kafka.wait()
        world.restart("gateway")
        time.sleep(1)


@pytest.mark.quick_drill
def test_a_sink_that_commits_before_it_inserts_loses_rows(fresh: World, say: Say) -> None:
    the_sink_is_killed_in_an_insert(fresh, "tests.drills.broken_sink")
    found = lost(fresh, say)
    assert found.kafka.ids - found.clickhouse.ids
    assert found.clickhouse.missing > 0
    assert found.audited.missing >= found.clickhouse.missing


@pytest.mark.drill
def test_the_real_sink_does_not(fresh: World, holds: Holds) -> None:
    the_sink_is_killed_in_an_insert(fresh, "")
    holds(fresh, all_answered=True)


@pytest.mark.quick_drill
def test_a_gateway_without_a_spool_loses_answers(fresh: World, say: Say) -> None:
    the_gateway_is_killed_without_kafka(fresh, "tests.drills.broken_gateway")
    found = lost(fresh, say)
    assert found.answered - found.kafka.ids


@pytest.mark.drill
def test_the_real_gateway_does_not(fresh: World, holds: Holds) -> None:
    the_gateway_is_killed_without_kafka(fresh, "")
    holds(fresh)


def lost(world: World, say: Say) -> Equality:
    """The equality of a wrong build, given the time in which a sound one agrees."""
    found = audit.equality(world, "a broken build", within_s=LOST_FOR_SURE_S)
    say(found.line())
    return found
