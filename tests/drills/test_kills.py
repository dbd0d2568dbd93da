"""Every service killed a hundred times under load, all in the same minutes: what each promises still holds."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.drills import test_controller, test_gateway, test_intake, test_sampler, test_sink
from tests.drills.clickhouse_faults import clickhouse_faults
from tests.drills.conftest import Holds, Say
from tests.drills.forked import Forked
from tests.drills.world import SESSION, World

TIMES: Final = 100
TEACHER_S: Final = 0.2  # So that a kill meets calls and requests that are with the teacher.

Moments = Mapping[str, Callable[[], object]]
"""For each service what returns when it is to be killed."""


@pytest.mark.drill
@pytest.mark.timeout(1_800)
def test_a_hundred_kills_of_each_service_at_once(fresh: World, dice: random.Random, holds: Holds, say: Say) -> None:
    asked: set[str] = set()
    fresh.runs, fresh.teacher.delay_s = Forked, TEACHER_S
    front = fresh.loop.keep(clickhouse_faults(fresh.clickhouse_url))
    front.delay_s = test_sink.INSERT_TAKES_S
    fresh.start("gateway", **test_gateway.LINGERS)
    fresh.start("sink", CLICKHOUSE_URL=front.url, SINK_BATCH_AGE_S="0.2", **SESSION)
    fresh.start("intake", **SESSION)
    fresh.start("controller", **test_controller.LINGERS)
    fresh.start("sampler", KAFKA_OPTIONS='{"linger.ms": "200"}', **test_sampler.STAYS)

    def requests_are_in_hand() -> None:
        asked.update(request.request_id for request in test_intake.produced(fresh))
        time.sleep(dice.uniform(0, 2))

    with fresh.load(20), test_controller.deciding(fresh) as told:
        kill_often(
            fresh,
            {
                "gateway": lambda: test_gateway.wait_for_a_moment(fresh, dice, within_s=4),
                "sink": lambda: test_sink.wait_for_a_moment(front, dice, in_an_insert=dice.random() < 0.5),
                "intake": requests_are_in_hand,
                "controller": lambda: test_controller.wait_for_a_moment(told, dice),
                "sampler": lambda: test_sampler.wait_for_a_moment(fresh, dice),
            },
        )
        fresh.answers_again()
        test_controller.more(told)
    found = holds(fresh, asked)
    assert found.kafka.sources == TIMES + 1
    say(test_controller.remembers(fresh, told))
    say(test_sampler.chose_as_in_one_pass(fresh, dice))


def kill_often(world: World, moments: Moments) -> None:
    """Kill each service so often, each at its own moments, beside the others; the first failure ends all."""
    failed = threading.Event()

    def again_and_again(name: str) -> None:
        try:
            for _ in range(TIMES):
                if failed.is_set():
                    return
                moments[name]()
                world.kill(name)
                world.restart(name)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(len(moments)) as threads:
        for ended in [threads.submit(again_and_again, name) for name in moments]:
            ended.result()
