"""What an erasure does in ClickHouse: noted first, then deleted and awaited, then its receipt."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Final

import uuid_utils
from tenacity import Retrying, retry_if_result, wait_exponential

from services import erasures
from services.clickhouse import ClickHouse
from services.controller.errors import Refused
from services.erasures import Erasure, micros

COLUMNS: Final = ("id", "digest", "task", "at", "decided_by", "receipt", "written_at")
PENDING: Final = """
SELECT id, digest, task, at, decided_by FROM erasures FINAL WHERE receipt = '' ORDER BY at
"""
MUTATIONS: Final = """
SELECT table, latest_fail_reason AS failure FROM system.mutations
WHERE database = currentDatabase() AND NOT is_done AND position(command, {digest:String}) > 0
"""


class ErasureTables:
    """ClickHouse's side of an erasure. Every method can be done again; each raises Overloaded while it is away."""

    def __init__(self, connect: Callable[[], ClickHouse]) -> None:
        self._connect = connect

    def counts(self, erasure: Erasure) -> dict[str, int]:
        """Rows that the erasure covers now, by table."""
        found = erasures.conditions(erasure, erasures.exchange_ids(erasure))
        with self._connected() as clickhouse:
            return {
                table: int(clickhouse.query(f"SELECT count() AS n FROM {table} FINAL WHERE {condition}")[0]["n"])  # noqa: S608 - no caller's text
                for table, condition in found.items()
            }

    def exchange_ids(self, erasure: Erasure) -> set[str]:
        """Ids of the exchanges that the erasure covers, whether they are still there or noted."""
        both = f"{erasures.exchange_ids(erasure)} UNION DISTINCT {erasures.NOTED.format(erasure.id)}"
        with self._connected() as clickhouse:
            return {str(row["id"]) for row in clickhouse.query(both)}

    def remembered(self, erasure: Erasure) -> list[tuple[str, int]]:
        """Keys of the sampler's changelog that hold what the erasure covers, with their partitions."""
        with self._connected() as clickhouse:
            rows = clickhouse.query(erasures.remembered(erasure))
        return [(row["key"], int(row["kafka_partition"])) for row in rows]

    def secret(self) -> str:
        """Under which customers are known by a digest."""
        with self._connected() as clickhouse:
            return erasures.secret_of(clickhouse.query(erasures.SECRET))

    def begin(self, erasure: Erasure, decided_by: str, now: datetime) -> None:
        """From here on the sink lets nothing of this customer in that was asked before."""
        self._write(erasure, decided_by, "", now)

    def delete(self, erasure: Erasure) -> None:
        """Note the exchanges' ids and remove every row; returns when they are gone. Raises Refused if that fails."""
        ids = f"SELECT id, toUUID('{erasure.id}') FROM ({erasures.exchange_ids(erasure)})"  # noqa: S608 - no caller's text
        with self._connected() as clickhouse:
            clickhouse.command(f"INSERT INTO erased_exchanges (id, erasure) {ids}")
            for statement in erasures.deletions(erasure).values():
                clickhouse.command(statement)
            waiting = Retrying(retry=retry_if_result(bool), wait=wait_exponential(multiplier=0.05, max=5))
            waiting(_under_way, clickhouse, erasure)

    def finish(self, erasure: Erasure, decided_by: str, receipt: str, now: datetime) -> None:
        """Keep the receipt."""
        self._write(erasure, decided_by, receipt, now)

    def pending(self) -> list[tuple[Erasure, str]]:
        """Erasures without a receipt, each with who decided it."""
        with self._connected() as clickhouse:
            return [(Erasure.of(row), row["decided_by"]) for row in clickhouse.query(PENDING)]

    def _write(self, erasure: Erasure, decided_by: str, receipt: str, now: datetime) -> None:
        row = (erasure.id, erasure.digest, erasure.task, erasure.at_us, decided_by, receipt, micros(now))
        with self._connected() as clickhouse:
            clickhouse.insert("erasures", COLUMNS, [row], token=str(uuid_utils.uuid7()))

    @contextmanager
    def _connected(self) -> Iterator[ClickHouse]:
        with closing(self._connect()) as clickhouse:
            yield clickhouse


def _under_way(clickhouse: ClickHouse, erasure: Erasure) -> bool:
    """Whether ClickHouse still deletes. It tries again by itself, but what fails once may fail for ever."""
    left = clickhouse.query(MUTATIONS, {"digest": erasure.digest})
    if failed := [row for row in left if row["failure"]]:
        raise Refused(f"table {failed[0]['table']} does not let go of its rows as yet: {failed[0]['failure'][:300]}")
    return bool(left)
