"""The sampler killed in the middle of its batches: the candidates are those of one pass without a kill."""

import asyncio
import random
import time
from typing import Final

import pytest

from deploy.local.processes import wait_until
from protos import events_pb2 as events
from services import client, tasks
from services.kafka import has_read
from services.sampler.sampling import side
from services.settings import GatewayAccess
from services.topics import CANDIDATES, EXCHANGES, decode
from tests.drills import audit
from tests.drills.calls import TASK
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

TIMES: Final = 2
SETTLES_WITHIN_S: Final = 120.0
LINGERS_LONG_S: Final = 6.0  # Faust commits every second or two.
# A worker that keeps its name: started again it has its partitions at once, and nobody waits for its session to end.
STAYS: Final = {"CONSUMER_GROUP_INSTANCE_ID": "the-one"}
RATED: Final = 40
TABLE: Final = "SELECT toString(id) AS id, excluded FROM candidates FINAL"


def killed(world: World, dice: random.Random, times: int, build: str = "", lingers_s: float = 0.2) -> None:
    """`lingers_s`: how long records wait for company before they leave for Kafka."""
    world.start("gateway", "sink")
    world.start("sampler", build=build, KAFKA_OPTIONS=f'{{"linger.ms": "{1000 * lingers_s:.0f}"}}', **STAYS)
    with world.load():
        for _ in range(times):
            wait_for_a_moment(world, dice, lingers_s)
            world.kill("sampler")
            world.restart("sampler")


def wait_for_a_moment(world: World, dice: random.Random, lingers_s: float = 0.0) -> None:
    """Any moment after it has got its partitions."""
    assert wait_until(lambda: reads(world), 60, every_s=0.2)
    time.sleep(dice.uniform(0, 2) + lingers_s)


@pytest.mark.quick_drill
def test_a_killed_sampler_chooses_what_one_pass_would(
    fresh: World, dice: random.Random, holds: Holds, say: Say
) -> None:
    killed(fresh, dice, TIMES)
    holds(fresh, all_answered=True)
    say(chose_as_in_one_pass(fresh, dice))


def chose_as_in_one_pass(world: World, dice: random.Random) -> str:
    """Assert that the candidates are those of one pass, and that what was remembered before the kills still is."""
    wanted = chosen_by_one_pass(world)
    wait_until(lambda: stored(world).keys() >= wanted, SETTLES_WITHIN_S, every_s=1)
    assert stored(world).keys() == on_topic(world).keys() == wanted
    rated = set(dice.sample(sorted(wanted), min(RATED, len(wanted))))
    gateway = GatewayAccess(gateway_address=world.gateway)
    asyncio.run(client.record_all(gateway, [badly_rated(name, world) for name in rated], concurrency=8))
    wait_until(lambda: excluded(world) >= rated, SETTLES_WITHIN_S, every_s=1)
    assert excluded(world) == rated
    records = len(audit.records(world, CANDIDATES.name))
    return f"{len(wanted)} candidates = on Kafka ({records} records) = in ClickHouse; ratings took {len(rated)} back"


@pytest.mark.drill
def test_one_that_acknowledges_before_kafka_has_its_candidates_loses_some(
    shared: World, dice: random.Random, say: Say
) -> None:
    """The audit counts exchanges alone: it is silent here."""
    killed(shared, dice, 2, "tests.drills.broken.sampler", lingers_s=LINGERS_LONG_S)
    assert wait_until(lambda: has_read(shared.kafka_settings, "sampler", [EXCHANGES.name]), 60, every_s=0.5)
    time.sleep(LINGERS_LONG_S + 1)
    lost = chosen_by_one_pass(shared) - on_topic(shared).keys()
    say(f"{len(lost)} candidates of {len(chosen_by_one_pass(shared))} are not on Kafka")
    assert lost


def reads(world: World) -> bool:
    """Whether the sampler has its partitions: a killed one's go to the next when its session has ended."""
    return 'tutelage_consumed_total{topic="exchanges"}' in audit.metrics(world, "sampler")


def chosen_by_one_pass(world: World) -> set[str]:
    """Every question is another, every answer whole, so only the golden ones are left out."""
    task = tasks.load(world.folder / "tasks")[TASK]
    answered = (one for one in audit.exchanges(world) if one.outcome == events.OUTCOME_ANSWERED)
    return {one.id for one in answered if side(task, one) != events.SPLIT_GOLDEN}


def on_topic(world: World) -> dict[str, events.Candidate]:
    return {(made := decode(record)).id: made for record in audit.records(world, CANDIDATES.name)}


def stored(world: World) -> dict[str, bool]:
    return {row["id"]: bool(row["excluded"]) for row in audit.rows(world, TABLE)}


def excluded(world: World) -> set[str]:
    return {name for name, taken_back in stored(world).items() if taken_back}


def badly_rated(name: str, world: World) -> events.FeedbackRecord:
    return events.FeedbackRecord(exchange_id=name, task=TASK, group_key=f"group {name[-2:]}", rating=-1)
