"""What an erasure's receipt says of Kafka and of what is left elsewhere; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from protos import control_pb2 as control
from services.kafka import Keeping
from services.topics import CANDIDATES, DEAD_LETTERS, EXCHANGES, FEEDBACK, FORGOTTEN, REQUESTS, SHADOWS

FOR_EVER_MS: Final = 1000 * 365 * 86_400_000
"""A thousand years: what Kafka's `for ever` comes to where it is said as a number."""
CHANGELOG: Final = "-changelog"
CUSTOMERS: Final = frozenset(
    {REQUESTS.name, EXCHANGES.name, FEEDBACK.name, CANDIDATES.name, SHADOWS.name, DEAD_LETTERS}
)
ALWAYS: Final = (
    "ledger: source, sequence and id of each exchange stay, so that the audit closes; nothing of what was said.",
    "ClickHouse's disk: the parts that were rewritten are deleted about eight minutes later; backups are not touched.",
    "Gateways' disks: what waits in a spool is dropped by the sink when it comes; files in `refused/` stay until "
    "a person deletes them.",
    "The sampler: workers that run forget within seconds, others as they start; a hash of each question stays until "
    "its time is over.",
    "Topic `requests`: a request that nobody had answered yet is answered, and its exchange is a new one.",
)


def holds_customers(topic: str) -> bool:
    """Whether a topic carries what customers said: ours that do, and the sampler's changelog."""
    return topic in CUSTOMERS or topic.endswith(CHANGELOG)


def tells_sampler(topic: str) -> bool:
    """Whether the sampler takes what it is to forget from a topic: when a worker starts, or while it runs."""
    return topic.endswith(CHANGELOG) or topic == FORGOTTEN


def held(keeping: Keeping, erased_at: datetime) -> control.HeldTopic:
    """Until when a topic holds what was on it at `erased_at`.

    Kafka deletes whole segments: one that is written to lasts until it is full or `segment.ms` old, and is deleted
    `retention.ms` after its last record.
    """
    made = control.HeldTopic(topic=keeping.topic)
    if keeping.retention_ms is None:
        made.rule = "the broker does not tell its retention"
    elif not keeping.deleted:
        made.rule = "compacted: the last value of a key stays until another takes its place"
    elif keeping.retention_ms < 0 or keeping.retention_ms > FOR_EVER_MS:
        made.rule = f"retention.ms={keeping.retention_ms}: never by itself"
    else:
        made.rule = f"retention.ms={keeping.retention_ms}, segment.ms={keeping.segment_ms or 0}"
        last_ms = keeping.retention_ms + min(keeping.segment_ms or 0, FOR_EVER_MS)
        made.gone_by.FromDatetime(erased_at + timedelta(milliseconds=last_ms))
    return made


def found(receipt: control.ErasureReceipt) -> bool:
    """Whether there was anything of the customer to remove or to name."""
    return any(receipt.rows.values()) or bool(receipt.snapshots)


def remains(receipt: control.ErasureReceipt) -> list[str]:
    """What else is left, for people."""
    quoting = [f"{s.task} {s.student_version}" for s in receipt.students if s.report_quotes]
    trained = [f"{s.task} {s.student_version}" for s in receipt.students if s.train_rows]
    kept = [f"{s.task}/{s.number}" for s in receipt.snapshots if not s.rewritten and not s.removed]
    return [*ALWAYS, *_named("Snapshots trained on already, as they were", kept), *_students(trained, quoting)]


def _students(trained: Sequence[str], quoting: Sequence[str]) -> list[str]:
    return [
        *_named("Students trained on the customer's rows; a rollback is a person's decision", trained),
        *_named(
            "Reports (files, and topic `runs`) that may quote the customer's golden examples, of students", quoting
        ),
    ]


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(names)}."] if names else []
