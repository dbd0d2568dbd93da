"""Sinks that pass over records, or write them twice."""

import sys
import time
import uuid
from contextlib import suppress
from typing import Final

from services.errors import Overloaded
from services.sink import __main__ as sink
from services.sink import pipeline, schema, writing
from services.topics import EXCHANGES, Record, decode

LATE_S: Final = 1.0
TABLE: Final = "CREATE TABLE IF NOT EXISTS exchanges ("


class Hasty(pipeline.Pipeline):
    """Commits before it inserts."""

    def _read(self, timeout_s: float) -> None:
        super()._read(timeout_s)
        self._consumer.commit(record for batch in self._batches.values() for record in batch.records)

    def _commit(self) -> None:
        if self._inserting.batch is not None:
            self._inserting.end()
            self._inserting.forget()


class Late(pipeline.Pipeline):
    """Passes over what comes late, as a stream job does behind its watermark."""

    def _take(self, record: Record) -> None:
        if record.topic != EXCHANGES.name or time.time() - decode(record).finished_at.ToMicroseconds() / 1e6 < LATE_S:
            super()._take(record)


class Dropping(writing.Inserting):
    """Gives a batch up that ClickHouse does not take now."""

    def end(self) -> writing.Dead:
        with suppress(Overloaded):
            return super().end()
        return []


def twofold(text: str) -> list[str]:
    """The schema with a table that does not fold rows of one id."""
    return [_unfolded(one) if one.startswith(TABLE) else one for one in STATEMENTS(text)]


def _unfolded(statement: str) -> str:
    column = " twice UUID DEFAULT generateUUIDv4(),"
    return statement.replace(TABLE, TABLE + column).replace("BY (task, id)", "BY (task, id, twice)")


STATEMENTS: Final = schema.statements


def main(build: str) -> None:
    match build:
        case "Hasty" | "Late":
            sink.Pipeline = globals()[build]
        case "Dropping":
            pipeline.Inserting = Dropping
        case "Doubling":  # No token by which a repeated batch is known, and no folding.
            writing.token = lambda _records: uuid.uuid4().hex
            schema.statements = twofold
        case _:
            raise ValueError(build)
    sink.main()


if __name__ == "__main__":
    main(sys.argv[1])
