"""The controller killed in the middle of decisions: each one that somebody was told of is on Kafka and in its table."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import pytest

from deploy.local.processes import wait_until
from protos import control_pb2 as control
from protos import events_pb2 as events
from services import client
from services.settings import ControlAccess
from services.topics import PROMOTIONS, decode
from tests.drills import audit
from tests.drills.calls import TASK
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

TIMES: Final = 3
# Records wait so long for company before they leave for Kafka, unless somebody waits for them.
LINGERS: Final = {"KAFKA_OPTIONS": '{"linger.ms": "500"}'}
TABLE: Final = "SELECT id FROM promotions FINAL"


def killed(world: World, dice: random.Random, times: int, build: str = "") -> list[str]:
    """The decisions that somebody was told of."""
    world.start("gateway", "sink")
    world.start("controller", build=build, **LINGERS)
    with world.load(10), deciding(world) as told:
        for _ in range(times):
            wait_for_a_moment(told, dice)
            world.kill("controller")
            world.restart("controller")
        more(told)
    return told


@contextmanager
def deciding(world: World) -> Iterator[list[str]]:
    """Somebody decides again and again; yields the decisions that he was told of, as they come."""
    told: list[str] = []
    stopping = threading.Event()
    thread = threading.Thread(target=decide, args=(world.control, told, stopping))
    thread.start()
    try:
        yield told
    finally:
        stopping.set()
        thread.join()


def wait_for_a_moment(told: list[str], dice: random.Random) -> None:
    """Any moment after it has decided."""
    more(told)
    time.sleep(dice.uniform(0, 1))


def more(told: list[str]) -> None:
    """Return when one more decision was told of."""
    before = len(told)
    assert wait_until(lambda: len(told) > before, 60), "nothing is decided"


@pytest.mark.quick_drill
def test_a_killed_controller_forgets_no_decision(fresh: World, dice: random.Random, holds: Holds, say: Say) -> None:
    told = killed(fresh, dice, TIMES)
    holds(fresh, all_answered=True)
    say(remembers(fresh, told))


def remembers(world: World, told: list[str]) -> str:
    """Assert that each decision somebody was told of is on Kafka and in its table, and the last one in force."""
    decided = on_topic(world)
    assert set(told) <= set(decided)
    # One that was killed just as Kafka took a decision is followed by one that brings it once more, under its id.
    assert len(decided) <= len(set(decided)) + TIMES
    wait_until(lambda: stored(world) == set(decided), 60, every_s=1)
    assert stored(world) == set(decided)
    assert latest(world) == decided[-1]
    return f"told of {len(told)} decisions; {len(set(decided))} on Kafka = in ClickHouse"


@pytest.mark.drill
def test_one_that_tells_of_a_decision_before_kafka_has_it_forgets_some(
    shared: World, dice: random.Random, say: Say
) -> None:
    """The audit counts exchanges alone: it is silent here."""
    told = killed(shared, dice, 2, "tests.drills.broken.controller")
    forgotten = set(told) - set(on_topic(shared))
    say(f"told of {len(told)} decisions; {len(forgotten)} not on Kafka")
    assert forgotten


def on_topic(world: World) -> list[str]:
    return [decode(record).id for record in audit.records(world, PROMOTIONS.name)]


def decide(address: str, told: list[str], stopping: threading.Event) -> None:
    """Decide again and again, through every restart; note what was answered."""
    request = control.PromoteRequest(task=TASK, decided_by="a drill")
    request.policy.kind = events.POLICY_KIND_TEACHER_ONLY
    while not stopping.is_set():
        try:
            with client.control(ControlAccess(control_address=address)) as stub:
                told.append(stub.Promote(request, timeout=5).id)
        except grpc.RpcError:
            stopping.wait(0.2)
        stopping.wait(0.05)


def stored(world: World) -> set[str]:
    return {row["id"] for row in audit.rows(world, TABLE)}


def latest(world: World) -> str:
    """What the last controller, rebuilt from the topic, says is in force."""
    with client.control(ControlAccess(control_address=world.control)) as stub:
        return str(stub.Status(control.StatusRequest(task=TASK), timeout=10).tasks[0].promotion.id)
