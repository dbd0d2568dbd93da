"""Ten times the rate, and records that come twice and out of order."""

import random
import time

import pytest

from services.kafka import Producer
from services.topics import EXCHANGES
from tests.drills import audit
from tests.drills.conftest import Holds
from tests.drills.world import World


@pytest.mark.drill
def test_a_burst_of_ten_times_the_rate_ends_every_call(fresh: World, holds: Holds) -> None:
    fresh.start("gateway", "sink")
    for rate_per_s, lasts_s in ((20, 5), (200, 10), (20, 5)):
        with fresh.load(rate_per_s):
            time.sleep(lasts_s)
    holds(fresh, all_answered=True)


@pytest.mark.drill
def test_exchanges_produced_again_out_of_order_count_once(fresh: World, dice: random.Random, holds: Holds) -> None:
    fresh.start("gateway", "sink")
    with fresh.load(100):
        time.sleep(3)
    before = holds(fresh, all_answered=True)
    again = audit.records(fresh, EXCHANGES.name) * 2
    dice.shuffle(again)
    producer = Producer(fresh.kafka_settings)
    for record in again:
        producer.send(record)
    assert producer.flush(30) == 0
    after = holds(fresh, all_answered=True)
    assert after.kafka.records == 3 * before.kafka.records
    assert after.clickhouse.ids == before.clickhouse.ids
