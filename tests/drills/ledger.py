"""The equality that ends every drill: what callers were told = what Kafka holds = what ClickHouse holds.

It is counted twice: here, from the records and rows themselves, and by the product's own audit; both must agree.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from protos import events_pb2 as events

MISSING: Final = """
SELECT sum(last - seen) AS n
FROM (SELECT max(sequence) AS last, uniqExact(sequence) AS seen FROM ledger GROUP BY source)
"""
SEQUENCES: Final = "SELECT uniqExact(source, sequence) AS n FROM ledger"
IDS: Final = "SELECT toString(id) AS id, count() AS n FROM exchanges FINAL GROUP BY id"
ROWS: Final = "SELECT count() AS n FROM exchanges"


@dataclass(frozen=True)
class OnKafka:
    """What topic `exchanges` holds, every record of it."""

    ids: frozenset[str]
    answered: frozenset[str]
    records: int
    sources: int
    sequences: int
    """Distinct ones of all sources."""
    missing: int
    """Sequences that lack below a source's highest."""

    @classmethod
    def of(cls, exchanges: Collection[events.Exchange]) -> "OnKafka":
        sequences: defaultdict[str, set[int]] = defaultdict(set)
        for one in exchanges:
            sequences[one.source].add(one.sequence)
        return cls(
            ids=frozenset(one.id for one in exchanges),
            answered=frozenset(one.id for one in exchanges if one.outcome == events.OUTCOME_ANSWERED),
            records=len(exchanges),
            sources=len(sequences),
            sequences=sum(map(len, sequences.values())),
            missing=sum(max(seen) - len(seen) for seen in sequences.values()),
        )


@dataclass(frozen=True)
class InClickHouse:
    """What table `exchanges` and its ledger hold."""

    ids: frozenset[str]
    rows: int
    """Before FINAL has folded what came twice."""
    duplicates: int
    """After it."""
    missing: int
    sequences: int
    """Distinct ones of all sources, in the ledger."""


@dataclass(frozen=True)
class Audited:
    """What the audit says of all sources: the one that `tutelage audit` prints and the controller shows."""

    answered: int
    acknowledged: int
    stored: int
    in_flight: int
    missing: int
    duplicates: int


@dataclass(frozen=True)
class Equality:
    """The figures of one drill.

    It holds if every call has ended, each answer that a caller got is on Kafka, what else is answered there was asked
    by Kafka or by callers who were told of a failure (their gateway was killed between the disk and the reply),
    ClickHouse has exactly Kafka's ids, no source lacks a sequence, no id is there twice, and nothing was buried.
    """

    drill: str
    begun: frozenset[str]
    by_kafka: frozenset[str]
    """Requests that came by topic `requests`: each must be answered on Kafka."""
    ended: dict[str, str]
    kafka: OnKafka
    clickhouse: InClickHouse
    audited: Audited
    dead_letters: int

    @property
    def answered(self) -> frozenset[str]:
        return frozenset(name for name, status in self.ended.items() if status == "OK")

    @property
    def lost(self) -> frozenset[str]:
        """What callers were answered and ClickHouse does not have."""
        return self.answered - self.clickhouse.ids

    @property
    def unheard(self) -> frozenset[str]:
        """Answered on Kafka, though the caller was told of a failure or its request came by Kafka."""
        return self.kafka.answered - self.answered

    @property
    def ends(self) -> str:
        """How the calls ended."""
        return ", ".join(f"{status} {count:,}" for status, count in Counter(self.ended.values()).most_common())

    def problems(self) -> list[str]:
        """Why it does not hold; empty if it does."""
        found = {
            "calls have not ended": len(self.begun - self.ended.keys()),
            "answers are not on Kafka": len(self.answered - self.kafka.answered),
            "requests on Kafka are not answered": len(self.by_kafka - self.kafka.answered),
            "exchanges on Kafka were never asked for": len(self.kafka.ids - self.begun - self.by_kafka),
            "exchanges on Kafka are not in ClickHouse": len(self.kafka.ids - self.clickhouse.ids),
            "exchanges in ClickHouse are not on Kafka": len(self.clickhouse.ids - self.kafka.ids),
            "sequences are missing on Kafka": self.kafka.missing,
            "sequences are missing in ClickHouse": self.clickhouse.missing,
            "duplicates are left after FINAL": self.clickhouse.duplicates,
            "dead letters": self.dead_letters,
            "are missing, says the audit": self.audited.missing,
            "are in flight, says the audit": self.audited.in_flight,
            "are stored twice, says the audit": self.audited.duplicates,
            "sequences on Kafka are more or less than the audit's answered": self._off(self.audited.answered),
            "sequences on Kafka are more or less than the audit's acknowledged": self._off(self.audited.acknowledged),
            "sequences in ClickHouse are more or less than the audit's stored": abs(
                self.clickhouse.sequences - self.audited.stored
            ),
        }
        return [f"{count} {what}" for what, count in found.items() if count]

    def _off(self, audited: int) -> int:
        return abs(self.kafka.sequences - audited)

    def line(self) -> str:
        """For people."""
        asked = f"requests by Kafka {len(self.by_kafka)}; " if self.by_kafka else ""
        return (
            f"{self.drill}: {asked}calls {len(self.begun)} ({self.ends}); answered {len(self.answered)}"
            f" + unheard {len(self.unheard)} = on Kafka {len(self.kafka.answered)}"
            f" ({len(self.kafka.ids)} exchanges, {self.kafka.records} records, {self.kafka.sources} sources)"
            f" = distinct in ClickHouse {len(self.clickhouse.ids)} of all outcomes; missing {self.clickhouse.missing};"
            f" duplicates {self.clickhouse.duplicates} ({self.clickhouse.rows - len(self.clickhouse.ids)} folded);"
            f" by the audit {self.audited.answered} = {self.audited.acknowledged} = {self.audited.stored} exchanges,"
            f" missing {self.audited.missing}, duplicates {self.audited.duplicates};"
            f" {'; '.join(self.problems()) or 'it holds'}"
        )


def in_clickhouse(found: Iterable[dict[str, int | str]], rows: int, missing: int, sequences: int) -> InClickHouse:
    """From the rows of IDS and the numbers of ROWS, MISSING and SEQUENCES."""
    counted = {str(row["id"]): int(row["n"]) for row in found}
    return InClickHouse(frozenset(counted), rows, sum(counted.values()) - len(counted), missing, sequences)
