"""The Grafana board: every query of it, on the engine, over exchanges that came twice, failed, or are missing."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from google.protobuf.message import Message

from services import topics
from services.clickhouse import ClickHouse
from services.settings import ClickHouseSettings
from services.sink import rows, schema, wire
from tests.deploy.board_rows import EXCHANGES, FEEDBACK, NOON, RUNS, TASK, promotion

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "boards" / "tutelage.json").read_text())
QUERIES: Final = {panel["title"]: target["rawSql"] for panel in BOARD["panels"] for target in panel["targets"]}
INTERVAL_S: Final = 60
Query = Callable[[str], list[dict[str, Any]]]


def expanded(sql: str, task: str = TASK) -> str:
    """The query as Grafana's ClickHouse plugin sends it: for the hour after NOON, in buckets of a minute, one task."""
    hour = f"toDateTime({NOON})", f"toDateTime({NOON + 3600})"
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {hour[0]} AND \1 <= {hour[1]}", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {INTERVAL_S} second)", sql)
    sql = sql.replace("$__interval_s", str(INTERVAL_S)).replace("${task:singlequote}", f"'{task}'")
    assert "$" not in sql, f"a macro that the test does not know: {sql}"
    return sql


@pytest.fixture(scope="module")
def query(clickhouse: str) -> Iterator[Query]:
    """Asks a database that the sink's own schema and rows have filled, each row in an insert of its own."""
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database="board"))
    schema.apply(connection)
    for topic, messages in (
        (topics.EXCHANGES, EXCHANGES),
        (topics.FEEDBACK, FEEDBACK),
        (topics.RUNS, RUNS),
        (topics.PROMOTIONS, [promotion(), promotion()]),
    ):
        put(connection, topic, messages)
    yield connection.query
    connection.close()


def put(connection: ClickHouse, topic: topics.Topic, messages: Iterable[Message]) -> None:
    """Each in an insert of its own: nothing is folded before it is asked for."""
    for number, message in enumerate(messages):
        row = wire.row(topics.encode(topic, message))
        connection.load(topic.name, rows.TABLES[topic.name].insert, [row], token=f"{topic.name}-{number}")


def at(second: int) -> datetime:
    """A time after NOON as the driver gives it."""
    return datetime.fromtimestamp(NOON + second, UTC)


def utc(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its time told in UTC, whether the driver gave it a zone or not."""
    time = row["time"]
    return {**row, "time": time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)}


def ordered(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(utc(row).values() if "time" in row else row.values()) for row in found)


@pytest.mark.contract
@pytest.mark.parametrize(
    ("title", "rows_expected"),
    [
        ("Exchanges", [(5,)]),
        ("Answered by the student", [(0.25,)]),
        ("Cost per million answers", [(pytest.approx((0.01 + 0.0001 + 0.0102 + 0.002 + 0.01) * 1e6 / 4),)]),
        ("Lost exchanges", [(2,)]),
        ("Stored twice", [(0,)]),
        (
            "Exchanges per minute, by who answered",
            [(at(0), "student", 1.0), (at(0), "teacher", 2.0), (at(60), "failed", 1.0), (at(60), "teacher", 1.0)],
        ),
        ("Share answered by the student", [(at(0), TASK, pytest.approx(1 / 3)), (at(60), TASK, 0.0)]),
        (
            "Latency p50 and p99, by who answered",
            [(at(0), "student", 100.0, 100.0), (at(0), "teacher", 1200.0, 1200.0), (at(60), "teacher", 1000.0, 1000.0)],
        ),
        ("Cost per hour", [(at(0), TASK, pytest.approx(0.0203 * 60)), (at(60), TASK, pytest.approx(0.012 * 60))]),
        ("Error that users report", [(at(0), "student", 0.0), (at(0), "teacher", 0.5)]),
        ("Failed, too late, cancelled, per minute", [(at(60), "failed", 1.0)]),
        ("Why the student's answers were not kept", [(TASK, "covers", 1, "covers: 'Main' is in no field")]),
        (
            "Promotions and rollbacks",
            [(at(900), TASK, "cascade", 3, "teacher_only", 0, "controller", "fewer errors")],
        ),
        ("Runs", [(at(900), TASK, "done", 1, 3, True, "fewer errors")]),
        (
            "Error measured on the golden set, by run",
            [(at(900), TASK, 3, 500, 0.11, 0.04, 0.026, 0.061, 0.14, 0.08)],
        ),
    ],
)
def test_a_panel_shows_each_exchange_once(query: Query, title: str, rows_expected: list[tuple[Any, ...]]) -> None:
    assert ordered(query(expanded(QUERIES[title]))) == rows_expected


@pytest.mark.contract
@pytest.mark.parametrize("title", [title for title, sql in QUERIES.items() if "${task" in sql])
def test_a_panel_bears_a_task_without_exchanges(query: Query, title: str) -> None:
    found = query(expanded(QUERIES[title], task="none"))
    assert len(found) == (1 if _type(title) == "stat" else 0)


@pytest.mark.contract
def test_the_board_lets_people_choose_among_the_tasks(query: Query) -> None:
    [variable] = BOARD["templating"]["list"]
    assert [row["task"] for row in query(variable["query"])] == [TASK, "another"]


def test_every_panel_asks_the_source_that_is_provisioned() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "clickhouse.yaml").read_text())["datasources"]
    asked = {(thing["datasource"]["type"], thing["datasource"]["uid"]) for thing in _that_ask()}
    assert asked == {(source["type"], source["uid"])}


def test_every_panel_has_a_place_of_its_own() -> None:
    cells = [cell for panel in BOARD["panels"] for cell in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def _that_ask() -> Iterator[dict[str, Any]]:
    yield from BOARD["templating"]["list"]
    for panel in BOARD["panels"]:
        yield panel
        yield from panel["targets"]


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


def _type(title: str) -> str:
    return next(str(panel["type"]) for panel in BOARD["panels"] if panel["title"] == title)
