"""A network that is cut, slow, resets connections or leaves them half-open, on each way that an exchange takes."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.drills import audit
from tests.drills.conftest import Fails, Holds
from tests.drills.world import World
from tests.fixtures.toxiproxy import Link, Toxiproxy, toxiproxy

LASTS_S: Final = 8.0
FAULTS: Final[dict[str, Callable[[Link], None]]] = {
    "cut": Link.cut,
    "slow": lambda link: link.slow(latency_ms=1_500, jitter_ms=200),
    "reset": Link.reset,
    "half-open": Link.half_open,
}
# librdkafka waits a minute for an answer before it takes a connection for dead; here ten seconds, to save the time.
IMPATIENT: Final = {"KAFKA_OPTIONS": '{"socket.timeout.ms": "10000"}', "CLICKHOUSE_TIMEOUT_S": "5"}

pytestmark = pytest.mark.drill

each = pytest.mark.parametrize("fault", FAULTS)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Toxiproxy]:
    with toxiproxy(tmp_path) as running:
        yield running


def to_kafka(world: World, proxy: Toxiproxy) -> Link:
    (broker,) = world.kafka.brokers
    return proxy.link("kafka", broker.behind_link, broker.link)


def gateway_to_kafka(world: World, proxy: Toxiproxy, build: str = "") -> Link:
    link = to_kafka(world, proxy)
    world.start("gateway", build=build, KAFKA_BOOTSTRAP_SERVERS=link.listen, **IMPATIENT)
    world.start("sink")
    return link


def kafka_to_sink(world: World, proxy: Toxiproxy, build: str = "") -> Link:
    link = to_kafka(world, proxy)
    world.start("gateway")
    world.start("sink", build=build, KAFKA_BOOTSTRAP_SERVERS=link.listen, **IMPATIENT)
    return link


def sink_to_clickhouse(world: World, proxy: Toxiproxy, build: str = "", timeout_s: float = 5.0) -> Link:
    link = proxy.link("clickhouse", world.clickhouse_url.removeprefix("http://"))
    world.start("gateway")
    world.start("sink", build=build, CLICKHOUSE_URL=f"http://{link.listen}", CLICKHOUSE_TIMEOUT_S=str(timeout_s))
    return link


@each
def test_a_bad_way_from_the_gateway_to_kafka(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    suffer(fresh, gateway_to_kafka(fresh, proxy), fault)
    holds(fresh, all_answered=True)


@each
def test_a_bad_way_from_kafka_to_the_sink(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    suffer(fresh, kafka_to_sink(fresh, proxy), fault)
    holds(fresh, all_answered=True)


@each
def test_a_bad_way_from_the_sink_to_clickhouse(fresh: World, proxy: Toxiproxy, holds: Holds, fault: str) -> None:
    suffer(fresh, sink_to_clickhouse(fresh, proxy), fault)
    holds(fresh, all_answered=True)


def test_a_gateway_that_drops_what_finds_no_room_loses_answers_in_each(
    shared: World, proxy: Toxiproxy, fails: Fails
) -> None:
    each_costs_more(shared, gateway_to_kafka(shared, proxy, "tests.drills.broken.gateway DropsWhenFull"), fails)


def test_a_sink_that_passes_over_what_comes_late_loses_rows_in_each(
    shared: World, proxy: Toxiproxy, fails: Fails
) -> None:
    each_costs_more(shared, kafka_to_sink(shared, proxy, "tests.drills.broken.sink Late"), fails)


def test_a_sink_that_does_not_wait_loses_rows_in_each_that_ends_its_inserts(
    shared: World, proxy: Toxiproxy, fails: Fails
) -> None:
    link = sink_to_clickhouse(shared, proxy, "tests.drills.broken.sink Dropping", timeout_s=1)
    each_costs_more(shared, link, fails, ("cut", "reset", "half-open"))


def test_one_that_repeats_a_slow_insert_without_a_token_doubles(shared: World, proxy: Toxiproxy, fails: Fails) -> None:
    link = sink_to_clickhouse(shared, proxy, "tests.drills.broken.sink Doubling", timeout_s=1)
    suffer(shared, link, "slow", 4)
    fails(shared, twice=True)


def each_costs_more(world: World, link: Link, fails: Fails, faults: Iterable[str] = FAULTS) -> None:
    lost = 0
    for fault in faults:
        suffer(world, link, fault, 2)
        lost = len(fails(world, more_than=lost).lost)


def suffer(world: World, link: Link, fault: str, lasts_s: float = LASTS_S) -> None:
    with world.load():
        audit.rows_arrive(world)
        FAULTS[fault](link)
        time.sleep(lasts_s)
        link.mend()
        time.sleep(lasts_s / 4)
