"""What the audit's tests on the engine share."""

from collections.abc import Iterator

import pytest
import uuid_utils

from services.clickhouse import ClickHouse
from services.settings import ClickHouseSettings
from services.sink import schema


@pytest.fixture
def ledger(clickhouse: str) -> Iterator[ClickHouse]:
    """A database with the sink's tables, and nothing in them."""
    database = f"t{uuid_utils.uuid7().hex}"
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=database))
    schema.apply(connection)
    yield connection
    connection.close()
