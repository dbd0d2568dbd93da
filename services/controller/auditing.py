"""The audit as metrics, every minute, in a thread beside the controller's work.

It never harms that work: whatever it meets is logged, and the next look comes in a minute. Two looks make an audit, so
the first figures come with the second minute; in them the sink has had a minute's time. Before that nobody could tell
what is missing from what is in flight, and nothing is shown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from services import telemetry
from services.audit import Audit, Look, asking, audit, look, settled
from services.audit.letters import DeadPlaces
from services.clickhouse import ClickHouse
from services.errors import Overloaded

log = structlog.stdlib.get_logger("tutelage")

KAFKA_S: Final = 10.0
DUPLICATES_DAYS: Final = 1
"""Today and yesterday: older rows have been looked at on their day."""


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
    """Set the metrics: the sums, and of the sources the worst alone, or their number would grow for ever."""
    total = found.total
    for state, count in (
        ("answered", total.answered),
        ("acknowledged", total.acknowledged),
        ("stored", total.stored),
        ("in_flight", total.in_flight),
        ("dead_letters", total.dead),
        ("missing", total.missing),
        ("written_off", total.written_off),
        ("put_aside", total.put_aside),
        ("duplicates", duplicates),
        ("vanished", vanished),
    ):
        telemetry.AUDIT.labels(state).set(count)
    telemetry.AUDIT_OLDEST.set(total.oldest_s)
    telemetry.AUDIT_SOURCES.set(len(found.sources))
    telemetry.AUDIT_SILENT.set(found.silent)
    telemetry.AUDIT_WORST.clear()
    if total.missing:
        telemetry.AUDIT_WORST.labels(found.sources[0].source).set(found.sources[0].missing)
    telemetry.AUDIT_AT.set_to_current_time()
