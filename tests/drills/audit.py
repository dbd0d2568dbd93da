"""Looks into Kafka and ClickHouse until they agree, or says in what they do not."""

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from deploy.local.processes import wait_until
from protos import events_pb2 as events
from services.audit import asking, take
from services.audit.letters import Letter, opened
from services.clickhouse import ClickHouse
from services.errors import Overloaded
from services.kafka import Follower, has_read
from services.topics import DEAD_LETTERS, EXCHANGES, Record, decode
from tests.drills import ledger
from tests.drills.ledger import Audited, Equality, InClickHouse, OnKafka
from tests.drills.world import World

SETTLES_WITHIN_S: Final = 120.0
LOOKS_EVERY_S: Final = 0.5
TOLD_WITHIN_S: Final = 5.0  # A gateway says every second how far it is.

waiting = retry(
    retry=retry_if_exception_type(Overloaded), wait=wait_fixed(LOOKS_EVERY_S), stop=stop_after_delay(60), reraise=True
)


def equality(world: World, drill: str, by_kafka: Collection[str] = (), within_s: float = SETTLES_WITHIN_S) -> Equality:
    """The figures once they agree, or when the time is over. `by_kafka`: ids of requests that came by Kafka."""
    until_s = time.monotonic() + within_s
    wait_until(lambda: spools_are_empty(world), within_s, LOOKS_EVERY_S)
    found = _look(world, drill, by_kafka)
    while found.problems() and time.monotonic() < until_s:
        time.sleep(LOOKS_EVERY_S)
        found = _look(world, drill, by_kafka)
    return found


def loss(world: World, drill: str, twice: bool, more_than: int) -> Equality:
    """The figures of a wrong build once all that it will ever write is written, and it has said how far it was.

    `twice`: what is looked for stands there twice, instead of not at all. `more_than`: what had been found before.
    """
    assert wait_until(lambda: spools_are_empty(world) and sink_has_read(world), SETTLES_WITHIN_S, LOOKS_EVERY_S)
    until_s = time.monotonic() + TOLD_WITHIN_S
    found = _look(world, drill, ())
    while (found.audited.duplicates if twice else found.audited.missing) <= more_than and time.monotonic() < until_s:
        time.sleep(LOOKS_EVERY_S)
        found = _look(world, drill, ())
    return found


def rows_arrive(world: World) -> None:
    """Return when one more row is in ClickHouse: a sink needs seconds to join its group."""
    before = number(world, ledger.ROWS)
    assert wait_until(lambda: number(world, ledger.ROWS) > before, SETTLES_WITHIN_S, every_s=0.2), "no row arrives"


@waiting
def sink_has_read(world: World) -> bool:
    """Whether sinks have committed all exchanges: what is not in ClickHouse then will never be."""
    return has_read(world.kafka_settings, world.sink_group, [EXCHANGES.name])


def spools_are_empty(world: World) -> bool:
    """Whether Kafka has acknowledged all that the running gateways wrote."""
    return all(metric(world, name, "tutelage_spool_bytes") == 0 for name in world.running("gateway"))


def metric(world: World, service: str, name: str) -> float:
    """The value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", metrics(world, service), re.MULTILINE)
    assert found, f"{service} shows no metric {name}"
    return float(found[1])


def paused(world: World) -> bool:
    """Whether the sink says that it waits for ClickHouse."""
    return 'tutelage_paused{service="sink"} 1.0' in metrics(world, "sink")


def metrics(world: World, service: str) -> str:
    """All that a service tells Prometheus."""
    return httpx.get(f"http://{world.metrics(service)}/metrics", trust_env=False).text


@waiting
def records(world: World, topic: str) -> list[Record]:
    """All that a topic holds."""
    follower = Follower(world.kafka_settings, topic)
    try:
        follower.start(timeout_s=10)
        found: list[Record] = []
        while not follower.caught_up():
            found += follower.poll(2_000, 0.2)
        return found
    finally:
        follower.close()


def exchanges(world: World) -> list[events.Exchange]:
    """All that topic `exchanges` holds."""
    return [decode(record) for record in records(world, EXCHANGES.name)]


@waiting
def rows(world: World, sql: str) -> list[dict[str, Any]]:
    """What ClickHouse answers."""
    clickhouse = ClickHouse(world.clickhouse_settings)
    try:
        return clickhouse.query(sql)
    finally:
        clickhouse.close()


def number(world: World, sql: str) -> int:
    """The one number, named n, of a query."""
    return int(rows(world, sql)[0]["n"] or 0)


def _look(world: World, drill: str, by_kafka: Collection[str]) -> Equality:
    letters, _ = opened(records(world, DEAD_LETTERS))
    return Equality(
        drill=drill,
        begun=frozenset(world.calls.begun),
        by_kafka=frozenset(by_kafka),
        ended=dict(world.calls.ended),
        kafka=OnKafka.of(exchanges(world)),
        clickhouse=_in_clickhouse(world),
        audited=_audited(world, letters),
        dead_letters=len(letters),
    )


def _in_clickhouse(world: World) -> InClickHouse:
    found = rows(world, ledger.IDS)
    counts = (number(world, sql) for sql in (ledger.ROWS, ledger.MISSING, ledger.SEQUENCES))
    return ledger.in_clickhouse(found, *counts)


@waiting
def _audited(world: World, letters: Iterable[Letter]) -> Audited:
    """The product's own word, at once: whoever asks again gives it time."""
    dead: defaultdict[str, set[int]] = defaultdict(set)
    for source, sequence in filter(None, (letter.place for letter in letters)):
        dead[source].add(sequence)
    clickhouse = ClickHouse(world.clickhouse_settings)
    try:
        total = take(clickhouse, dead, within_s=0).total
        duplicates = asking.duplicates(clickhouse, days=1)
    finally:
        clickhouse.close()
    return Audited(total.answered, total.acknowledged, total.stored, total.in_flight, total.missing, duplicates)
