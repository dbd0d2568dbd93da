"""ClickHouse: connect, insert, query. The only importer of clickhouse_connect; its errors end here."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import (
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)

from services.errors import BadEvent, Overloaded
from services.settings import ClickHouseSettings

# Every refused row is a traceback otherwise; the reason is in the exception that we raise.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

# Codes that pass by themselves: a table or database not made yet, timeout, too many queries or parts, memory,
# read-only, no space, network, shutdown.
PASSING: Final = frozenset(
    {60, 81, 159, 160, 164, 202, 209, 210, 236, 241, 242, 243, 252, 319, 394, 425, 439, 473, 999}
)
# Codes that speak of a row: unparsable or out of range, a null or a length that is not allowed, a constraint, protobuf
# that is not of its schema. Not 434, a schema that is none.
OF_A_ROW: Final = frozenset({6, 27, 38, 41, 69, 72, 131, 321, 349, 376, 407, 436, 444, 469})
CONVERTING: Final = re.compile(r"while converting source column `.*` to destination column", re.DOTALL)
INSERT_SETTINGS: Final = {
    # A repeated batch must find its way into the views too, if the first try ended between the table and them.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A hundred by default: a day each, an import of older logs has more.
    "max_partitions_per_insert_block": 0,
}


class ClickHouse:
    """One connection; not shared between threads. Every method raises Overloaded while the server can't be used."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._client: Client | None = None

    def _connected(self, database: str | None = None) -> Client:
        url = urlsplit(self._settings.clickhouse_url)
        return clickhouse_connect.get_client(
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            secure=url.scheme == "https",
            username=self._settings.clickhouse_user,
            password=self._settings.clickhouse_password.get_secret_value(),
            database=database or self._settings.clickhouse_database,
            send_receive_timeout=self._settings.clickhouse_timeout_s,
            compress=False,
            autogenerate_session_id=False,  # Sessions are locked by the server; ours are independent calls.
        )

    def create_database(self) -> None:
        """Create the settings' database if it is not there."""
        with self._translated():
            client = self._connected("default")
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self._settings.clickhouse_database}`")
            client.close()

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], token: str) -> None:
        """Insert rows at once; the same `token` again, soon after, inserts nothing.

        Raises BadEvent if one of the rows can't be taken; none is then inserted. Halve them to find it.
        """
        given = list(rows)
        with self._translated(), _refusals(table):
            try:
                self._ready().insert(table, given, column_names=columns, settings=_settings(token))
            finally:
                given.clear()  # The client's insert context refers to itself, and would hold the rows for long.

    def load(self, table: str, statement: str, rows: Sequence[bytes], token: str) -> None:
        """As `insert`, of rows that the server reads by the statement's FORMAT: they follow it one behind the other."""
        with self._translated(), _refusals(table):
            body = b"".join((statement.encode(), b"\n", *rows))
            self._ready().raw_insert("", insert_block=body, settings=_settings(token))

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a SELECT, by column name. Parameters are bound by the server: `{name:Type}`."""
        with self._translated():
            return list(self._ready().query(sql, parameters=dict(parameters or {})).named_results())

    def command(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        with self._translated():
            self._ready().command(sql)

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _translated(self) -> "_Translated":
        url = urlsplit(self._settings.clickhouse_url)
        return _Translated(f"ClickHouse at {url.scheme}://{url.netloc.rpartition('@')[2]} (CLICKHOUSE_URL)")

    def _ready(self) -> Client:
        if self._client is None:
            self._client = self._connected()
        return self._client


def _settings(token: str) -> dict[str, Any]:
    return {**INSERT_SETTINGS, "insert_deduplication_token": token}


@contextmanager
def _refusals(table: str) -> Iterator[None]:
    """Turns what is said of one of the rows into BadEvent."""
    try:
        yield
    except (DataError, ValueError, ArithmeticError) as error:
        raise BadEvent(f"{table} can't take it: {error}") from error
    except DatabaseError as error:
        if error.code not in OF_A_ROW:
            raise
        raise BadEvent(f"{table} refuses it: {_short(error)}") from error


class _Translated:
    """Turns a server that is away, slow or full into Overloaded. What it says of our statements passes unchanged."""

    def __init__(self, server: str) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DatabaseError, InterfaceError, OSError)) and _passes(error):
            if refused := _refused_connection(error):
                raise Overloaded(f"{self._server} does not answer: {refused}") from error
            raise Overloaded(f"{self._server} can't be used now: {_short(error)}") from error


def _passes(error: BaseException) -> bool:
    match error:
        case DataError() | ProgrammingError():
            return False
        case DatabaseError(code=int(code)):
            return code in PASSING
        case _:  # No code: the server did not answer, or a proxy did in its place.
            return isinstance(error, OperationalError | InterfaceError | OSError) or type(error) is DatabaseError


def _refused_connection(error: BaseException) -> str:
    """What the system said of the connection, without the client's wrappings; empty where it is not that."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error.strerror or "" if isinstance(error, OSError) else ""


def _short(error: BaseException) -> str:
    """What the server said, without the client's words around it and the SQL that made the value of a column."""
    told = str(error).strip()
    told = (told.partition("DB::Exception: ")[2] or told).partition(" (for url ")[0]
    return CONVERTING.sub("for the column", told).partition(": while executing")[0][:300]
