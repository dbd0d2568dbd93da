"""What the engine does with a batch that it reads itself: all of it once, or nothing."""

from collections.abc import Iterator

import pytest
import uuid_utils

from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.settings import ClickHouseSettings
from services.sink import schema
from services.sink.rows import TABLES
from services.sink.wire import row
from tests.services.sink.messages import consumed, exchange

pytestmark = pytest.mark.contract

ARRIVED = """
SELECT (SELECT count() FROM exchanges) AS exchanges, (SELECT count() FROM ledger) AS ledger,
       (SELECT sum(n) FROM (SELECT bitmapCardinality(seen) AS n FROM ledger_blocks)) AS bits
"""


@pytest.fixture
def clickhouse_tables(clickhouse: str) -> Iterator[ClickHouse]:
    """The sink's tables, empty; merges are off, so that what came twice is seen twice."""
    database = f"t{uuid_utils.uuid7().hex}"
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=database))
    schema.apply(connection)
    for table in ("exchanges", "ledger", "ledger_blocks"):
        connection.command(f"SYSTEM STOP MERGES {table}")
    yield connection
    connection.command(f"DROP DATABASE {database}")
    connection.close()


def rows(count: int) -> list[bytes]:
    return [row(consumed(exchange(n), offset=n)) for n in range(1, count + 1)]


def load(connection: ClickHouse, given: list[bytes], batch: str = "one") -> None:
    connection.load("exchanges", TABLES["exchanges"].insert, given, token=batch)


def arrived(connection: ClickHouse) -> tuple[int, ...]:
    [counts] = connection.query(ARRIVED)
    return tuple(counts.values())


def test_the_same_token_again_changes_nothing_in_the_table_nor_behind_it(clickhouse_tables: ClickHouse) -> None:
    given = rows(3)
    for _ in range(3):
        load(clickhouse_tables, given)
    assert arrived(clickhouse_tables) == (3, 3, 3)
    load(clickhouse_tables, rows(2), "another")
    assert arrived(clickhouse_tables) == (5, 5, 5)


def test_a_try_that_ended_between_the_table_and_what_is_behind_it_is_completed_by_the_next(
    clickhouse_tables: ClickHouse,
) -> None:
    given = rows(3)
    clickhouse_tables.command("RENAME TABLE ledger TO ledger_away")
    with pytest.raises(Overloaded, match="ledger"):
        load(clickhouse_tables, given)
    clickhouse_tables.command("RENAME TABLE ledger_away TO ledger")
    load(clickhouse_tables, given)
    assert arrived(clickhouse_tables) == (3, 3, 3)


def test_of_a_large_batch_with_a_bad_row_at_its_end_nothing_is_in(clickhouse_tables: ClickHouse) -> None:
    [good] = rows(1)
    poison = good.replace(b"0.00234000", b"cheap, but")
    with pytest.raises(BadEvent, match="cheap"):
        load(clickhouse_tables, [good] * 70_000 + [poison])
    assert arrived(clickhouse_tables) == (0, 0, 0)


def test_what_is_no_protobuf_of_the_schema_is_said_of_a_row(clickhouse_tables: ClickHouse) -> None:
    [good] = rows(1)
    with pytest.raises(BadEvent, match="Protobuf"):
        load(clickhouse_tables, [good, b"\x02\x38\x05"])


def test_a_table_without_the_columns_is_not_said_of_a_row(clickhouse_tables: ClickHouse) -> None:
    clickhouse_tables.command("ALTER TABLE exchanges DROP COLUMN refusal")
    with pytest.raises(Exception, match="refusal") as raised:
        load(clickhouse_tables, rows(1))
    assert not isinstance(raised.value, (Overloaded, BadEvent))


def test_a_schema_that_is_none_is_not_said_of_a_row(clickhouse_tables: ClickHouse) -> None:
    broken = TABLES["exchanges"].insert.replace("int64 seconds", "int65 seconds")
    with pytest.raises(Exception, match="code: 434") as raised:
        clickhouse_tables.load("exchanges", broken, rows(1), "token")
    assert not isinstance(raised.value, (Overloaded, BadEvent))
