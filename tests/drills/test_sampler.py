"""The sampler killed in the middle of its batches: the candidates are those of one pass without a kill."""

import asyncio
import random
import time
from typing import Final

import pytest

from deploy.local.processes import wait_until
from protos import events_pb2 as events
from services import client, tasks
from services.sampler.sampling import side
from services.topics import CANDIDATES, decode
from tests.drills import audit
from tests.drills.calls import TASK
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

TIMES: Final = 8
SETTLES_WITHIN_S: Final = 120.0
RATED: Final = 40
TABLE: Final = "SELECT toString(id) AS id, excluded FROM candidates FINAL"

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


def test_a_killed_sampler_chooses_what_one_pass_would(
    fresh: World, dice: random.Random, holds: Holds, say: Say
) -> None:
    fresh.start("gateway", "sink", "sampler")
    with fresh.load():
        for _ in range(TIMES):
            assert wait_until(lambda: reads(fresh), 60, every_s=0.2)
            time.sleep(dice.uniform(0, 2))
            fresh.kill("sampler")
            fresh.restart("sampler")
    holds(fresh, all_answered=True)
    wanted = chosen_by_one_pass(fresh)
    wait_until(lambda: stored(fresh).keys() >= wanted, SETTLES_WITHIN_S, every_s=1)
    assert stored(fresh).keys() == on_topic(fresh).keys() == wanted
    # What was remembered before the kills is still there: a rating takes its candidate back.
    rated = set(dice.sample(sorted(wanted), RATED))
    asyncio.run(client.record_all(fresh.gateway, [badly_rated(name, fresh) for name in rated], concurrency=8))
    wait_until(lambda: excluded(fresh) >= rated, SETTLES_WITHIN_S, every_s=1)
    assert excluded(fresh) == rated
    records = len(audit.records(fresh, CANDIDATES.name))
    say(f"{len(wanted)} candidates = on Kafka ({records} records) = in ClickHouse; {len(rated)} taken back by ratings")


def reads(world: World) -> bool:
    """Whether the sampler has its partitions: a killed one's go to the next when its session has ended."""
    return 'tutelage_consumed_total{topic="exchanges"}' in audit.metrics(world, "sampler")


def chosen_by_one_pass(world: World) -> set[str]:
    """Every question is another, every answer whole, so only the golden ones are left out."""
    task = tasks.load(world.folder / "tasks")[TASK]
    return {one.id for one in audit.exchanges(world) if side(task, one) != events.SPLIT_GOLDEN}


def on_topic(world: World) -> dict[str, events.Candidate]:
    return {(made := decode(record)).id: made for record in audit.records(world, CANDIDATES.name)}


def stored(world: World) -> dict[str, bool]:
    return {row["id"]: bool(row["excluded"]) for row in audit.rows(world, TABLE)}


def excluded(world: World) -> set[str]:
    return {name for name, taken_back in stored(world).items() if taken_back}


def badly_rated(name: str, world: World) -> events.FeedbackRecord:
    return events.FeedbackRecord(exchange_id=name, task=TASK, group_key=f"group {name[-2:]}", rating=-1)
