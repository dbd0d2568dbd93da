"""Who was erased, and which rows that covers; pure.

A customer is known by the digest of the group key alone, so that neither a table nor a log keeps the key. An erasure
covers what was asked before it; what the same customer asks afterwards is new and stays. An exchange whose time lies
more than a day ahead was made by a clock that can't be believed, and is taken for an old one.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US: Final = 86_400 * 1_000_000
KNOWN: Final = "SELECT id, digest, task, at FROM erasures"
"""All erasures; until ClickHouse has folded them some come twice."""


@lru_cache(maxsize=65_536)
def digest(group_key: str) -> str:
    """SHA-256 of a group key, as hex in lower case."""
    return hashlib.sha256(group_key.encode()).hexdigest()


@dataclass(frozen=True)
class Erasure:
    """The customer whose group key has this digest, in one task or (empty) in all, before `at_us`.

    Times are microseconds since 1970, UTC.
    """

    id: str
    digest: str
    task: str
    at_us: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Erasure":
        """From a row of KNOWN."""
        return cls(str(row["id"]), row["digest"], row["task"], micros(row["at"]))


class Erased:
    """All erasures, as one question."""

    def __init__(self, erasures: Iterable[Erasure] = ()) -> None:
        self.erasures = frozenset(erasures)
        self._digests = {erasure.digest for erasure in self.erasures}

    def __bool__(self) -> bool:
        return bool(self.erasures)

    def knows(self, group_key: str) -> bool:
        """Whether this customer was ever erased from anything."""
        return bool(self._digests) and bool(group_key) and digest(group_key) in self._digests

    def covering(self, task: str, group_key: str, asked_us: int, now_us: int) -> Erasure | None:
        """The erasure because of which what the customer asked at that time may not be kept; None where it may."""
        if not self.knows(group_key):
            return None
        mine = (one for one in self.erasures if one.digest == digest(group_key) and one.task in {"", task})
        return next((one for one in mine if asked_us < one.at_us or asked_us > now_us + DAY_US), None)


def micros(at: datetime) -> int:
    """Microseconds since 1970, UTC; ClickHouse's driver leaves the zone out, which is UTC too."""
    return (at.replace(tzinfo=at.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)


NOTED: Final = "SELECT id FROM erased_exchanges WHERE erasure = '{}'"


def deletions(erasure: Erasure) -> dict[str, str]:
    """By table, the statement that removes what an erasure covers. Its ids must be in `erased_exchanges` before."""
    found = conditions(erasure, NOTED.format(erasure.id))
    return {table: f"ALTER TABLE {table} DELETE WHERE {condition}" for table, condition in found.items()}


def conditions(erasure: Erasure, exchange_ids: str) -> dict[str, str]:
    """By table, which rows an erasure covers; `exchange_ids` is a SELECT of its exchanges' ids.

    Candidates carry no time of asking: those of the exchanges go by id, others by when they were decided.
    """
    return {
        "feedback": f"({_old(erasure, 'created_at')}) OR exchange_id IN ({exchange_ids})",
        "candidates": f"({_old(erasure, 'decided_at')}) OR id IN ({exchange_ids})",
        "golden": _old(erasure, "added_at"),
        "exchanges": _old(erasure, "started_at"),
    }


def exchange_ids(erasure: Erasure) -> str:
    """A SELECT of the ids of all exchanges and candidates that an erasure covers, while they are there."""
    exchanges = f"SELECT id FROM exchanges WHERE {_old(erasure, 'started_at')}"  # noqa: S608 - no caller's text
    candidates = f"SELECT id FROM candidates WHERE {_old(erasure, 'decided_at')}"  # noqa: S608
    return f"{exchanges} UNION DISTINCT {candidates}"


def remembered(erasure: Erasure) -> str:
    """A SELECT of what the sampler remembers of the covered rows: keys of its changelog, and their partitions."""
    found = conditions(erasure, exchange_ids(erasure))
    exchanges = "SELECT concat('exchange:', toString(id)) AS key, kafka_partition FROM exchanges"
    said = "concat(arrayJoin(['rating:', 'correction:']), toString(exchange_id))"
    feedback = f"SELECT {said} AS key, kafka_partition FROM feedback"  # noqa: S608 - no caller's text
    both = f"{exchanges} WHERE {found['exchanges']} UNION ALL {feedback} WHERE {found['feedback']}"
    return f"SELECT DISTINCT key, kafka_partition FROM ({both})"  # noqa: S608


def _old(erasure: Erasure, column: str) -> str:
    """No value here comes from a caller but the task's name, which is a defined one, and the digest, which is hex."""
    task = f" AND task = '{erasure.task}'" if erasure.task else ""
    when = f"toUnixTimestamp64Micro({column}) NOT BETWEEN {erasure.at_us} AND {erasure.at_us + DAY_US}"
    return f"lower(hex(SHA256(group_key))) = '{erasure.digest}'{task} AND {when}"
