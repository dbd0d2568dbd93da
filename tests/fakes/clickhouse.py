"""ClickHouse in memory, as far as inserts go; tests/contracts/test_clickhouse.py holds it and the real one to it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.topics import TOPICS


@dataclass
class FakeServer:
    """Tables of rows by column. `away` is an outage; `refuse` says why a row can't be taken ('' if it can)."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    away: bool = False
    refuse: Callable[[str, Mapping[str, Any]], str] = lambda _table, _row: ""
    tokens: set[tuple[str, str]] = field(default_factory=set)
    inserts: list[tuple[str, int]] = field(default_factory=list)
    """Table and number of rows of every insert that was taken."""


class FakeClickHouse(ClickHouse):
    """A connection to a FakeServer."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def create_database(self) -> None:
        self._answers()

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], token: str) -> None:
        self._answers()
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        if reason := next((why for row in named if (why := self._server.refuse(table, row))), ""):
            raise BadEvent(f"{table} refuses it: {reason}")
        if (table, token) not in self._server.tokens:
            self._server.tables[table] += named
            self._server.tokens.add((table, token))
            self._server.inserts.append((table, len(named)))

    def load(self, table: str, statement: str, rows: Sequence[bytes], token: str) -> None:
        """Each row is a message of the topic of the table's name, its fields the columns; the statement is not read."""
        assert statement.startswith(f"INSERT INTO {table} ")
        kind = TOPICS[table].message
        columns = [field.name for field in kind.DESCRIPTOR.fields]
        messages = [kind.FromString(_undelimited(row)) for row in rows]
        self.insert(table, columns, [[getattr(one, name) for name in columns] for one in messages], token)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Knows `SELECT columns FROM table` alone."""
        self._answers()
        match = re.fullmatch(r"SELECT ([\w, ]+) FROM (\w+)", sql)
        assert match, f"the fake does not understand {sql!r}"
        columns = match[1].split(", ")
        return [{column: row[column] for column in columns} for row in self._server.tables.get(match[2], [])]

    def command(self, sql: str) -> None:
        """Knows CREATE TABLE, and takes every other statement without doing anything."""
        self._answers()
        if match := re.match(r"\s*CREATE TABLE (?:IF NOT EXISTS )?(\w+)", sql):
            self._server.tables.setdefault(match[1], [])

    def close(self) -> None:
        pass

    def _answers(self) -> None:
        if self._server.away:
            raise Overloaded("ClickHouse can't be used now")


def _undelimited(row: bytes) -> bytes:
    """A message without its length, which is the bytes up to the first below 128."""
    return row[next(place for place, byte in enumerate(row) if byte < 128) + 1 :]
