"""The equalities of a run of drills, a line each, for the end of the run; pure."""

from collections.abc import Sequence
from typing import Final

from tests.drills.ledger import Equality

HEADS: Final = (
    "calls",
    "answered + unheard = on Kafka",
    "exchanges on Kafka = distinct in ClickHouse",
    "numbers on Kafka = stored, by the audit",  # more than exchanges where a killed intake has asked once more
    "missing",
    "twice",
    "",
)


def table(found: Sequence[Sequence[str]]) -> list[str]:
    """The lines of some rows: figures right-aligned under their heads, the drill's name first, the verdict last."""
    rows = [("drill", *HEADS), *found]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    return [_line(cells, widths) for cells in rows]


def row(one: Equality) -> tuple[str, ...]:
    """A drill's."""
    kafka, clickhouse, audited = one.kafka, one.clickhouse, one.audited
    return (
        one.drill,
        f"{len(one.begun):,}: {one.ends}",
        f"{len(one.answered):,} + {len(one.unheard):,} = {len(kafka.answered):,}",
        f"{len(kafka.ids):,} = {len(clickhouse.ids):,}",
        f"{kafka.sequences:,} = {audited.stored:,}",
        f"{max(kafka.missing, clickhouse.missing, audited.missing):,}",
        f"{max(clickhouse.duplicates, audited.duplicates):,}",
        "; ".join(one.problems()) or "it holds",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures, verdict = cells
    aligned = [figure.rjust(width) for figure, width in zip(figures, widths[1:-1], strict=True)]
    return "  ".join([name.ljust(widths[0]), *aligned, verdict]).rstrip()
