"""Whether anything was lost or counted twice: what Kafka and ClickHouse hold, to set beside what callers got."""

from collections.abc import Callable
from typing import Final

from deploy.local import processes
from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.kafka import Follower
from services.settings import KafkaSettings
from services.topics import EXCHANGES, decode

CANDIDATES: Final = "SELECT count() AS n, toUnixTimestamp64Micro(max(decided_at)) AS latest FROM candidates"
SETTLED_S: Final = 4.0


def answered_on_kafka(settings: KafkaSettings) -> set[str]:
    """The ids of all answered exchanges on topic `exchanges`, read from its beginning."""
    follower = Follower(settings, EXCHANGES.name)
    follower.start(timeout_s=10)
    found: set[str] = set()
    while not follower.caught_up():
        exchanges = [decode(record) for record in follower.poll(1000, timeout_s=0.5)]
        found |= {one.id for one in exchanges if one.outcome == events.OUTCOME_ANSWERED}
    follower.close()
    return found


def wait_until(ready: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look every half second until `ready`. Raises TimeoutError naming `what` it waited for."""
    if not processes.wait_until(ready, timeout_s, every_s=0.5):
        raise TimeoutError(f"{what} took longer than {timeout_s:.0f} s; look into the logs")


def wait_until_settled(clickhouse: ClickHouse, clock: Callable[[], float], timeout_s: float) -> None:
    """Wait until the sampler has added or changed no candidate for a few seconds."""
    seen, since = clickhouse.query(CANDIDATES), clock()

    def settled() -> bool:
        nonlocal seen, since
        if (now := clickhouse.query(CANDIDATES)) != seen:
            seen, since = now, clock()
        return clock() - since > SETTLED_S and bool(seen[0]["n"])

    wait_until(settled, timeout_s, "choosing candidates")
