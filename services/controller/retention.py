"""How long ClickHouse keeps rows: each table's TTL from what the tasks say.

One expression per table holds for all tasks. It is changed only when it says something else than before, as a change
makes ClickHouse look through all parts; a TTL that somebody altered by hand stays until then.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

import uuid_utils

from services.clickhouse import ClickHouse
from services.tasks import DEFAULT_DAYS, Retention, Task
from services.telemetry import log

DAYS: Final[Mapping[str, Callable[[Retention], int]]] = {
    "exchanges": lambda retention: retention.exchanges_days,
    "feedback": lambda retention: retention.feedback_days,
    "candidates": lambda retention: retention.candidates_days,
    "shadows": lambda retention: retention.exchanges_days,
}


def ttls(tasks: Mapping[str, Task]) -> dict[str, str]:
    """The TTL expression of each table."""
    return {table: _ttl({name: days(task.retention) for name, task in tasks.items()}) for table, days in DAYS.items()}


def _ttl(days_by_task: Mapping[str, int]) -> str:
    own = {name: days for name, days in sorted(days_by_task.items()) if days != DEFAULT_DAYS}
    if not own:
        return f"inserted_at + toIntervalDay({DEFAULT_DAYS})"
    names = ", ".join(f"'{name}'" for name in own)  # Letters, digits and hyphens: a task's name can't be otherwise.
    days = ", ".join(str(days) for days in own.values())
    return f"inserted_at + toIntervalDay(transform(task, [{names}], [{days}], {DEFAULT_DAYS}))"


def apply(connect: Callable[[], ClickHouse], tasks: Mapping[str, Task]) -> None:
    """Give the tables the tasks' TTLs. Raises Overloaded while ClickHouse or its tables are not there."""
    with closing(connect()) as clickhouse:
        rows = clickhouse.query("SELECT name, ttl FROM retention FINAL")
        known = dict.fromkeys(DAYS, _ttl({})) | {row["name"]: row["ttl"] for row in rows}
        for table, ttl in ttls(tasks).items():
            if ttl != known[table]:
                clickhouse.command(f"ALTER TABLE {table} MODIFY TTL {ttl}")
                row = (table, ttl, datetime.now(UTC))
                clickhouse.insert("retention", ("name", "ttl", "applied_at"), [row], token=str(uuid_utils.uuid7()))
                log.info("retention changed", table=table, ttl=ttl)
