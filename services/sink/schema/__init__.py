"""The numbered DDL and its application: each file once, in order, noted in table `schema_versions`.

A new file may meet a database where it has half run, so every statement must be one that may run again
(IF NOT EXISTS). A file that has been released is never changed.
"""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.clickhouse import ClickHouse
from services.erasures import SECRET
from services.telemetry import log

VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_versions (version UInt32, name String, applied_at DateTime64(6, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY version
"""
FILES: Final = Path(__file__).parent


def apply(clickhouse: ClickHouse) -> None:
    """Make the database and bring its tables up to date. Raises Overloaded while ClickHouse can't be used."""
    clickhouse.create_database()
    clickhouse.command(VERSIONS)
    done = {row["version"] for row in clickhouse.query("SELECT version FROM schema_versions")}
    for path in sorted(FILES.glob("*.sql")):
        if (version := int(path.name.partition("_")[0])) not in done:
            _apply_file(clickhouse, version, path)
    if not clickhouse.query(SECRET):
        _make_secret(clickhouse)


def _make_secret(clickhouse: ClickHouse) -> None:
    """Of several sinks that do it at once the first one's stands: the token is the same."""
    row = (secrets.token_hex(32), datetime.now(UTC))
    clickhouse.insert("erasure_key", ("key", "made_at"), [row], token="the only one")  # noqa: S106 - no password


def _apply_file(clickhouse: ClickHouse, version: int, path: Path) -> None:
    for statement in statements(path.read_text(encoding="utf-8")):
        clickhouse.command(statement)
    row = (version, path.name, datetime.now(UTC))
    clickhouse.insert("schema_versions", ("version", "name", "applied_at"), [row], token=path.name)
    log.info("schema applied", version=version, file=path.name)


def statements(sql: str) -> list[str]:
    """The statements of a file, without the lines that are comments."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    return [statement.strip() for statement in "\n".join([*lines, ""]).split(";\n") if statement.strip()]
