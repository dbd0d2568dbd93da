"""The controller killed in the middle of decisions: each one that somebody was told of is on Kafka and in its table."""

import random
import threading
import time
from typing import Final

import grpc
import pytest

from deploy.local.processes import wait_until
from protos import control_pb2 as control
from protos import events_pb2 as events
from services import client
from services.topics import PROMOTIONS, decode
from tests.drills import audit
from tests.drills.calls import TASK
from tests.drills.conftest import Holds, Say
from tests.drills.world import World

TIMES: Final = 10
TABLE: Final = "SELECT id FROM promotions FINAL"

pytestmark = pytest.mark.drill


def test_a_killed_controller_forgets_no_decision(fresh: World, dice: random.Random, holds: Holds, say: Say) -> None:
    fresh.start("gateway", "sink", "controller")
    told: list[str] = []
    stopping = threading.Event()
    deciding = threading.Thread(target=decide, args=(fresh.control, told, stopping))
    deciding.start()
    with fresh.load(10):
        for _ in range(TIMES):
            time.sleep(dice.uniform(0.3, 2))
            fresh.kill("controller")
            fresh.restart("controller")
    stopping.set()
    deciding.join()
    holds(fresh, all_answered=True)
    decided = [decode(record).id for record in audit.records(fresh, PROMOTIONS.name)]
    assert told
    assert set(told) <= set(decided)
    assert len(decided) == len(set(decided))
    wait_until(lambda: stored(fresh) == set(decided), 60, every_s=1)
    assert stored(fresh) == set(decided)
    say(f"told of {len(told)} decisions; {len(decided)} on Kafka = in ClickHouse")
    assert latest(fresh) == decided[-1]


def decide(address: str, told: list[str], stopping: threading.Event) -> None:
    """Decide again and again, through every restart; note what was answered."""
    request = control.PromoteRequest(task=TASK, decided_by="a drill")
    request.policy.kind = events.POLICY_KIND_TEACHER_ONLY
    while not stopping.is_set():
        try:
            with client.control(address) as stub:
                told.append(stub.Promote(request, timeout=5).id)
        except grpc.RpcError:
            stopping.wait(0.2)
        stopping.wait(0.02)


def stored(world: World) -> set[str]:
    return {row["id"] for row in audit.rows(world, TABLE)}


def latest(world: World) -> str:
    """What the last controller, rebuilt from the topic, says is in force."""
    with client.control(world.control) as stub:
        return str(stub.Status(control.StatusRequest(task=TASK), timeout=10).tasks[0].promotion.id)
