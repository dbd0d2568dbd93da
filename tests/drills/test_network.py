"""A network that is cut, slow, resets connections or leaves them half-open, on each way that an exchange takes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.drills.conftest import Holds
from tests.drills.world import World
from tests.fixtures.toxiproxy import Link, Toxiproxy, toxiproxy

LASTS_S: Final = 8.0
FAULTS: Final[dict[str, Callable[[Link], None]]] = {
    "cut": Link.cut,
    "slow": lambda link: link.slow(latency_ms=500, jitter_ms=200),
    "reset": Link.reset,
    "half-open": Link.half_open,
}
# librdkafka waits a minute for an answer before it takes a connection for dead; here ten seconds, to save the time.
IMPATIENT: Final = {"KAFKA_OPTIONS": '{"socket.timeout.ms": "10000"}', "CLICKHOUSE_TIMEOUT_S": "5"}

pytestmark = pytest.mark.drill


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Toxiproxy]:
    with toxiproxy(tmp_path) as running:
        yield running


def to_kafka(world: World, proxy: Toxiproxy) -> Link:
    (broker,) = world.kafka.brokers
    return proxy.link("kafka", broker.behind_link, broker.link)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_way_from_the_gateway_to_kafka(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    link = to_kafka(fresh, proxy)
    fresh.start("gateway", KAFKA_BOOTSTRAP_SERVERS=link.listen, **IMPATIENT)
    fresh.start("sink")
    with fresh.load():
        suffer(link, fault)
    holds(fresh, all_answered=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_way_from_kafka_to_the_sink(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    link = to_kafka(fresh, proxy)
    fresh.start("gateway")
    fresh.start("sink", KAFKA_BOOTSTRAP_SERVERS=link.listen, **IMPATIENT)
    with fresh.load():
        suffer(link, fault)
    holds(fresh, all_answered=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_way_from_the_sink_to_clickhouse(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    link = proxy.link("clickhouse", fresh.clickhouse_url.removeprefix("http://"))
    fresh.start("gateway")
    fresh.start("sink", CLICKHOUSE_URL=f"http://{link.listen}", **IMPATIENT)
    with fresh.load():
        suffer(link, fault)
    holds(fresh, all_answered=True)


def suffer(link: Link, fault: str) -> None:
    time.sleep(2)
    FAULTS[fault](link)
    time.sleep(LASTS_S)
    link.mend()
    time.sleep(2)
