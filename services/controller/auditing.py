"""The audit as metrics, every minute, in a thread beside the controller's work.

It never harms that work: whatever it meets is logged, and the next look comes in a minute. Two looks make an audit, so
the first figures come with the second minute; in them the sink has had a minute's time. Before that nobody could tell
what is missing from what is in flight, and nothing is shown.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import Gauge

from services import telemetry
from services.audit import Account, Audit, Look, asking, audit, look, settled
from services.audit.arithmetic import Course
from services.audit.letters import DeadPlaces
from services.clickhouse import ClickHouse
from services.errors import Overloaded

log = structlog.stdlib.get_logger("tutelage")

KAFKA_S: Final = 10.0
DUPLICATES_DAYS: Final = 1
"""Today and yesterday: older rows have been looked at on their day."""
SHOWN: Final = 50
"""Sources with metrics of their own: each start of a gateway is one, and their number would grow for ever."""


class Auditor:
    """Looks at the ledger, and remembers what had to be stored by the next look. Used by one thread at a time."""

    def __init__(self, clickhouse: ClickHouse, dead: DeadPlaces) -> None:
        self._clickhouse = clickhouse
        self._dead = dead
        self._bounds: dict[str, int] | None = None

    async def go_on(self, every_s: float) -> None:
        """Look every so often, until cancelled."""
        while True:
            error: BaseException | None
            [error] = await asyncio.gather(asyncio.to_thread(self.look), return_exceptions=True)
            if isinstance(error, Exception):
                log.warning("no audit", reason=str(error), exc_info=None if isinstance(error, Overloaded) else error)
            await asyncio.sleep(every_s)

    def look(self) -> None:
        """One look; from the second on, into the metrics. Raises Overloaded while ClickHouse or Kafka can't be used."""
        looks = look(self._clickhouse)
        if self._bounds is not None:
            self._audit(looks, self._bounds)
        self._bounds = settled(looks)

    def _audit(self, looks: Sequence[Look], bounds: Mapping[str, int]) -> None:
        lacking = any(one.holes for one in looks)
        found = audit(looks, bounds, self._dead.by_source(KAFKA_S) if lacking else {})
        vanished = sum(asking.vanished(self._clickhouse).values())
        show(found, asking.duplicates(self._clickhouse, DUPLICATES_DAYS), vanished)


def show(found: Audit, duplicates: int, vanished: int) -> None:
    """Set the metrics: the sums, and the sources that somebody may have to look at."""
    for state, count in (*_figures(found.total), ("duplicates", duplicates), ("vanished", vanished)):
        telemetry.AUDIT.labels(state).set(count)
    telemetry.AUDIT_OLDEST.set(found.total.oldest_s)
    telemetry.AUDIT_SOURCES.set(len(found.sources))
    telemetry.AUDIT_SILENT.set(found.silent)
    shown = watched(found.sources)
    _only(telemetry.AUDIT_SOURCE, {(one.source, state): count for one in shown for state, count in _figures(one)})
    _only(telemetry.AUDIT_SOURCE_OLDEST, {(one.source,): one.oldest_s for one in shown})
    telemetry.AUDIT_AT.set_to_current_time()


def watched(sources: Iterable[Account]) -> list[Account]:
    """Those that go on or lack something, at most SHOWN: the worst, then those that go on, then the latest."""
    latest = sorted(filter(_unsettled, sources), key=lambda one: one.source, reverse=True)  # UUIDv7 tell their time.
    return sorted(latest, key=lambda one: (-one.missing, -one.dead, one.course is not Course.OPEN))[:SHOWN]


def _unsettled(one: Account) -> bool:
    return one.course in {Course.OPEN, Course.SILENT} or one.stored + one.written_off < one.answered


def _figures(one: Account) -> tuple[tuple[str, int], ...]:
    return (
        ("answered", one.answered),
        ("acknowledged", one.acknowledged),
        ("stored", one.stored),
        ("in_flight", one.in_flight),
        ("dead_letters", one.dead),
        ("missing", one.missing),
        ("written_off", one.written_off),
        ("put_aside", one.put_aside),
    )


def _only(gauge: Gauge, wanted: Mapping[tuple[str, ...], float]) -> None:
    """Set these labels' values, and take away what there was of others; none is away in between."""
    [metric] = gauge.collect()
    for labels in {tuple(sample.labels.values()) for sample in metric.samples} - wanted.keys():
        gauge.remove(*labels)
    for labels, value in wanted.items():
        gauge.labels(*labels).set(value)
