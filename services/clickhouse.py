"""ClickHouse: connect, insert, query. The only importer of clickhouse_connect; its errors end here."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, InterfaceError, OperationalError

from services.errors import Overloaded
from services.settings import ClickHouseSettings


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
        with _translated():
            client = self._connected("default")
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self._settings.clickhouse_database}`")
            client.close()

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], token: str) -> None:
        """Insert rows in one block; the same `token` again, soon after, inserts nothing."""
        with _translated():
            self._ready().insert(table, rows, column_names=columns, settings={"insert_deduplication_token": token})

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a SELECT, by column name. Parameters are bound by the server: `{name:Type}`."""
        with _translated():
            return list(self._ready().query(sql, parameters=dict(parameters or {})).named_results())

    def command(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        with _translated():
            self._ready().command(sql)

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()

    def _ready(self) -> Client:
        if self._client is None:
            self._client = self._connected()
        return self._client


class _translated:  # noqa: N801 - reads as a phrase
    """Turns the driver's errors into ours: a server that is away, slow or full is Overloaded; bad data is not."""

    # Codes that pass by themselves: timeout, too many queries / parts, memory, read-only, no space, network, shutdown.
    PASSING = frozenset({159, 160, 164, 202, 209, 210, 236, 241, 242, 243, 252, 319, 394, 425, 439, 473, 999})

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case DatabaseError() if _code(error) not in self.PASSING and _code(error) != 0:
                return
            case DatabaseError() | OperationalError() | InterfaceError() | OSError():
                raise Overloaded(f"ClickHouse can't be used now: {str(error).strip()[:300]}") from error


def _code(error: Exception) -> int:
    """The server's error code, 0 where the message carries none (the server did not answer)."""
    _, found, rest = str(error).replace("error code ", "Code: ").partition("Code: ")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return int(digits) if found and digits else 0
