"""The intake killed with requests in hand: each request on the topic is answered, once in the tables."""

import random
import time
from typing import Final

import pytest

from protos import inference_pb2 as inference
from services.kafka import Producer
from services.topics import REQUESTS, encode
from tests.drills.calls import a_request
from tests.drills.conftest import Holds
from tests.drills.world import SESSION, World

TIMES: Final = 15
AT_ONCE: Final = 60
SLOW_TEACHER_S: Final = 0.5  # So that a kill meets requests that are with the gateway.

pytestmark = pytest.mark.drill


def test_a_killed_intake_leaves_no_request_unanswered(fresh: World, dice: random.Random, holds: Holds) -> None:
    fresh.start("gateway", "sink")
    fresh.start("intake", **SESSION)
    fresh.teacher.delay_s = SLOW_TEACHER_S
    asked: list[inference.Request] = []
    with fresh.load(10):
        for number in range(TIMES):
            asked += produced(fresh)
            time.sleep(dice.uniform(0, 2))
            victim = "gateway" if number % 5 == 4 else "intake"
            fresh.kill(victim)
            fresh.restart(victim)
    holds(fresh, {request.request_id for request in asked})


def produced(world: World) -> list[inference.Request]:
    producer = Producer(world.kafka_settings)
    requests = [a_request(200) for _ in range(AT_ONCE)]
    for request in requests:
        producer.send(encode(REQUESTS, request))
    assert producer.flush(30) == 0
    return requests
