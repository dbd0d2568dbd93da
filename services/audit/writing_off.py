"""What is lost for good is written off, with a reason and a name, so that the next loss is seen.

Only sequences are written, in ranges; whether one of them has turned up since is known from what is stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import uuid_utils

from services.audit.arithmetic import Account, Range, count, joined, within
from services.audit.asking import BLOCK
from services.clickhouse import ClickHouse

TABLE: Final = "written_off"
COLUMNS: Final = ("source", "first", "last", "reason", "decided_by", "at")
DECISIONS: Final = """
SELECT source, reason, decided_by, at, arraySort(groupArray((first, last))) AS ranges
FROM written_off FINAL GROUP BY source, reason, decided_by, at ORDER BY at, source
"""


@dataclass(frozen=True)
class WrittenOff:
    """One decision: these exchanges of a source are lost, said somebody, and why. `at` is UTC."""

    source: str
    ranges: Sequence[Range]
    """Ascending."""
    reason: str
    decided_by: str
    at: datetime

    @property
    def exchanges(self) -> int:
        """How many were written off."""
        return count(self.ranges)

    def stored_since(self, account: Account) -> int:
        """How many of them are stored after all, as the account of their source says."""
        return self.exchanges - count(within(self.ranges, account.written_off_at))


def write_off(clickhouse: ClickHouse, decision: WrittenOff) -> None:
    """Say that they are lost. Raises Overloaded: say it again."""
    said = decision.reason, decision.decided_by, decision.at
    rows = [(decision.source, *piece, *said) for one in decision.ranges for piece in in_blocks(one)]
    clickhouse.insert(TABLE, COLUMNS, rows, token=str(uuid_utils.uuid7()))


def decisions(clickhouse: ClickHouse) -> list[WrittenOff]:
    """What was written off when, by whom and why, the oldest first. Raises Overloaded."""
    return [
        WrittenOff(
            row["source"], joined(row["ranges"]), row["reason"], row["decided_by"], row["at"].replace(tzinfo=UTC)
        )
        for row in clickhouse.query(DECISIONS)
    ]


def in_blocks(one: Range) -> Iterator[Range]:
    """A range cut where the blocks of `ledger_blocks` end: the view `audit` takes no row that is in two of them."""
    first, last = one
    while first <= last:
        end = min(last, ((first - 1) // BLOCK + 1) * BLOCK)
        yield first, end
        first = end + 1
