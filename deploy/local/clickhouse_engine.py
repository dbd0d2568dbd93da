"""The ClickHouse engine in this process (chDB): one directory, one engine, a fresh connection for each request.

A connection costs 0.1 ms and holds its own settings and database, so nothing of one request leaks into the next,
and requests run beside one another, as on a ClickHouse server without sessions.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import chdb
from chdb.state.sqlitelike import Connection

from deploy.local import clickhouse_sql as sql


class EngineError(Exception):
    """The engine refused a statement. `code` is ClickHouse's error code, 0 where it gave none."""

    def __init__(self, message: str) -> None:
        self.code, text = sql.error_of(message)
        super().__init__(text)


@dataclass(frozen=True)
class Request:
    """A statement with all that ClickHouse's HTTP interface lets a caller say about it."""

    text: bytes
    database: str = "default"
    default_format: str = "TabSeparated"
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    """Values of `{name:Type}` places, escaped as in TabSeparated."""


@dataclass(frozen=True)
class Answer:
    """The bytes of a result, its format (None where the statement has no result set) and what it cost."""

    data: bytes = b""
    format: str | None = None
    summary: dict[str, str] = field(default_factory=dict)


class Engine:
    """The engine of a directory; one process at a time may hold it. `run` may be called from many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = chdb.connect(str(path))  # Keeps the engine up between requests.
        answer = self.run(Request(b"SELECT version(), timezone()")).data.decode().strip()
        self.version, self.timezone = answer.split("\t")

    def close(self) -> None:
        self._root.close()

    def run(self, request: Request) -> Answer:
        """Runs one statement. EngineError when it is refused or fails; an INSERT that fails to parse left nothing."""
        text = sql.strip_comments(request.text)
        with self._connection(request) as connection:
            insert = sql.split_insert(text)
            return _insert(connection, insert) if insert else _query(connection, text, request)

    @contextmanager
    def _connection(self, request: Request) -> Iterator[Connection]:
        connection = chdb.connect(str(self._path))
        try:
            if request.database != "default":
                connection.query(f"USE `{request.database.replace('`', '')}`")
            placed = {f"param_{name}": value for name, value in request.parameters.items()}
            if statement := sql.set_statement(request.settings | placed):
                connection.query(statement)
            yield connection
        except (RuntimeError, ValueError) as error:  # chDB raises nothing narrower.
            raise EngineError(str(error)) from error
        finally:
            connection.close()


def _insert(connection: Connection, insert: sql.Insert) -> Answer:
    """From a file: chDB's own `input` gives no rows, and its `send_insert` says all is well also where a constraint or
    a view has refused them.
    """
    with NamedTemporaryFile(prefix="clickhouse-insert-") as file:
        file.write(insert.data)
        file.flush()
        text = sql.from_file(insert, file.name) if insert.reads_at is None else insert.reading(file.name)
        done = connection.query(text)
    rows, size = str(done.rows_written()), str(done.bytes_written())
    return Answer(summary=_summary(done.elapsed()) | {"written_rows": rows, "written_bytes": size})


def _query(connection: Connection, text: bytes, request: Request) -> Answer:
    result = connection.query(text, request.default_format)
    data = bytes(result.bytes() or b"")
    shown = sql.output_format(text, request.default_format) if sql.returns_rows(text) or data else None
    if shown == "Native" and not data:
        data = _empty_native(connection, text)
    counts = {"read_rows": str(result.rows_read()), "read_bytes": str(result.bytes_read())}
    written = {"written_rows": str(result.rows_written()), "written_bytes": str(result.bytes_written())}
    return Answer(data, shown, _summary(result.elapsed()) | counts | written)


def _empty_native(connection: Connection, text: bytes) -> bytes:
    """chDB writes nothing where a server writes a block of no rows, so the columns are asked for in another format."""
    described = connection.query(sql.in_format(text, "JSONCompact"), "JSONCompact")
    meta = json.loads(described.bytes() or b'{"meta": []}')["meta"]
    columns = [(column["name"], column["type"]) for column in meta]
    return sql.empty_native_block(columns)


def _summary(elapsed_s: float) -> dict[str, str]:
    zero = dict.fromkeys(("read_rows", "read_bytes", "written_rows", "written_bytes"), "0")
    return zero | {"elapsed_ns": str(int(elapsed_s * 1e9))}
