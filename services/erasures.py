"""Who was erased, and which rows that covers; pure.

A customer is known by a digest of the group key alone, so that neither a table nor a log keeps it. Group keys can be
guessed, being mail addresses or customers' numbers, so the digest is an HMAC under a secret of the installation that
lies in ClickHouse's table `erasure_key`. Digests from before there was one are still recognised.

An erasure covers what was asked before it; what the same customer asks afterwards is new and stays. An exchange whose
time lies more than a day ahead was made by a clock that can't be believed, and is taken for an old one.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from services.errors import Overloaded

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US: Final = 86_400 * 1_000_000
KNOWN: Final = "SELECT id, digest, task, at FROM erasures"
"""All erasures; until ClickHouse has folded them some come twice."""
SECRET: Final = "SELECT key, made_at FROM erasure_key"  # noqa: S105 - where it is, not what


def secret_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The installation's, from the rows of SECRET: the first that was made. Raises Overloaded if there is none yet."""
    if not rows:
        raise Overloaded("the sink has not made the secret of the erasures yet")
    return str(min(rows, key=lambda row: row["made_at"])["key"])


@lru_cache(maxsize=65_536)
def digest(group_key: str, secret: str) -> str:
    """HMAC-SHA-256 of a group key, as hex in lower case."""
    return hmac.digest(secret.encode(), group_key.encode(), "sha256").hex()


@lru_cache(maxsize=65_536)
def digests(group_key: str, secret: str) -> frozenset[str]:
    """All by which a customer may be known: also the SHA-256 without a secret, from before there was one."""
    return frozenset({digest(group_key, secret), hashlib.sha256(group_key.encode()).hexdigest()})


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
    """All erasures, as one question. `secret` is the installation's; where nobody was erased it is not needed."""

    def __init__(self, erasures: Iterable[Erasure] = (), secret: str = "") -> None:
        self.erasures = frozenset(erasures)
        self._secret = secret
        self._digests = {erasure.digest for erasure in self.erasures}

    def __bool__(self) -> bool:
        return bool(self.erasures)

    def knows(self, group_key: str) -> bool:
        """Whether this customer was ever erased from anything."""
        if not self._digests or not group_key:
            return False
        return not self._digests.isdisjoint(digests(group_key, self._secret))

    def covering(self, task: str, group_key: str, asked_us: int, now_us: int) -> Erasure | None:
        """The erasure because of which what the customer asked at that time may not be kept; None where it may."""
        if not self.knows(group_key):
            return None
        known = digests(group_key, self._secret)
        mine = (one for one in self.erasures if one.digest in known and one.task in {"", task})
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
        "shadows": f"({_old(erasure, 'asked_at')}) OR id IN ({exchange_ids})",
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
    keyed = "lower(hex(HMAC('sha256', group_key, (SELECT argMin(key, made_at) FROM erasure_key))))"
    whose = f"'{erasure.digest}' IN ({keyed}, lower(hex(SHA256(group_key))))"
    return f"{whose}{task} AND {when}"
