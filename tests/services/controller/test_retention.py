"""Each task's rows are kept as long as it says, the others' as long as by default."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import uuid_utils

from services.clickhouse import ClickHouse
from services.controller import retention
from services.settings import ClickHouseSettings
from services.sink import schema
from tests.services.controller.world import a_task

DEFAULT = "inserted_at + toIntervalDay(400)"


def tasks(**days: int) -> dict[str, object]:
    return {name: a_task(name=name, retention={"exchanges_days": count}) for name, count in days.items()}


def test_without_a_task_that_says_otherwise_the_tables_keep_their_ttl() -> None:
    assert set(retention.ttls({"labels": a_task()}).values()) == {DEFAULT}


def test_only_the_tasks_and_tables_that_say_otherwise_are_named() -> None:
    found = retention.ttls(tasks(b=90, a=30, c=400))  # type: ignore[arg-type]
    assert found["exchanges"] == "inserted_at + toIntervalDay(transform(task, ['a', 'b'], [30, 90], 400))"
    assert found["feedback"] == found["candidates"] == DEFAULT


@pytest.fixture
def database(clickhouse: str) -> ClickHouse:
    settings = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=f"t{uuid_utils.uuid7().hex}")
    connection = ClickHouse(settings)
    schema.apply(connection)
    return connection


def put(database: ClickHouse, task: str, *ages_days: int) -> None:
    now = datetime.now(UTC)
    rows = [(UUID(str(uuid_utils.uuid7())), task, now - timedelta(days=age)) for age in ages_days]
    database.insert("exchanges", ("id", "task", "inserted_at"), rows, token=str(uuid_utils.uuid7()))


def ages(database: ClickHouse) -> dict[str, list[int]]:
    database.command("OPTIMIZE TABLE exchanges FINAL")
    sql = "SELECT task, arraySort(groupArray(dateDiff('day', inserted_at, now()))) AS ages FROM exchanges GROUP BY task"
    return {row["task"]: list(row["ages"]) for row in database.query(sql)}


@pytest.mark.contract
def test_rows_older_than_their_tasks_retention_go_and_the_others_stay(database: ClickHouse) -> None:
    connect = lambda: ClickHouse(database._settings)  # noqa: E731
    for name in ("short", "long", "plain", "unknown"):
        put(database, name, 10, 100, 399, 500)
    retention.apply(connect, tasks(short=30, long=1000, plain=400))  # type: ignore[arg-type]
    assert ages(database) == {
        "short": [10],
        "long": [10, 100, 399, 500],
        "plain": [10, 100, 399],
        "unknown": [10, 100, 399],
    }
    retention.apply(connect, tasks(short=30, long=200))  # type: ignore[arg-type]
    assert ages(database)["long"] == [10, 100]


@pytest.mark.contract
def test_a_start_that_changes_nothing_makes_clickhouse_do_nothing(database: ClickHouse) -> None:
    connect = lambda: ClickHouse(database._settings)  # noqa: E731
    count = "SELECT count() AS n FROM system.mutations WHERE database = currentDatabase() AND table = 'exchanges'"
    put(database, "a", 1)
    retention.apply(connect, tasks(a=400))  # type: ignore[arg-type]
    assert database.query(count) == [{"n": 0}]
    for _ in range(3):
        retention.apply(connect, tasks(a=30))  # type: ignore[arg-type]
    assert database.query(count) == [{"n": 1}]
    assert database.query("SELECT name FROM retention ORDER BY name") == [{"name": "exchanges"}, {"name": "shadows"}]
