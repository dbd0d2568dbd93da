"""The intake killed with requests in hand: each request on the topic is answered, once in the tables."""

import random
import time
from collections.abc import Iterable
from typing import Final

import pytest

from deploy.local.processes import wait_until
from protos import inference_pb2 as inference
from services.kafka import Producer, has_read
from services.topics import REQUESTS, encode
from tests.drills import audit
from tests.drills.calls import a_request
from tests.drills.conftest import Holds, Say
from tests.drills.ledger import OnKafka
from tests.drills.world import SESSION, World

TIMES: Final = 3
AT_ONCE: Final = 60
SLOW_TEACHER_S: Final = 1.0  # So that a kill meets requests that are with the gateway.


def killed(world: World, moments_s: Iterable[float], build: str = "") -> set[str]:
    """Killed so many seconds after requests have come; returns the ids of all requests."""
    world.start("gateway", "sink")
    world.start("intake", build=build, **SESSION)
    world.teacher.delay_s = SLOW_TEACHER_S
    asked: list[inference.Request] = []
    with world.load(10):
        for moment_s in moments_s:
            asked += produced(world)
            time.sleep(moment_s)
            world.kill("intake")
            world.restart("intake")
    return {request.request_id for request in asked}


@pytest.mark.quick_drill
def test_a_killed_intake_leaves_no_request_unanswered(fresh: World, dice: random.Random, holds: Holds) -> None:
    holds(fresh, killed(fresh, (dice.uniform(0, 2) for _ in range(TIMES))))


@pytest.mark.drill
def test_one_that_commits_what_it_has_read_leaves_some_unanswered(shared: World, say: Say) -> None:
    """The audit counts what was answered: of what was never asked it can't know."""
    asked = killed(shared, [SLOW_TEACHER_S * 0.8] * 3, "tests.drills.broken.intake")
    assert wait_until(lambda: has_read(shared.kafka_settings, "intake", [REQUESTS.name]), 60, every_s=0.5)
    time.sleep(2 * SLOW_TEACHER_S)  # What was read last is still being answered.
    unanswered = asked - OnKafka.of(audit.exchanges(shared)).answered
    say(f"of {len(asked)} requests {len(unanswered)} are not answered")
    assert unanswered


def produced(world: World) -> list[inference.Request]:
    producer = Producer(world.kafka_settings)
    requests = [a_request(200) for _ in range(AT_ONCE)]
    for request in requests:
        producer.send(encode(REQUESTS, request))
    assert producer.flush(30) == 0
    return requests
