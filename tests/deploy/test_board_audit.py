"""The board's part on the ledger: figures that agree, a loss, a tail that is known, and an id that stands twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protos import events_pb2 as events
from services import topics
from services.clickhouse import ClickHouse
from services.settings import ClickHouseSettings
from services.sink import rows, schema
from services.topics import Topic
from tests.deploy.board_rows import exchange
from tests.deploy.test_board import QUERIES, Query, expanded

LONG_AGO_S = 300
COLUMNS = (*rows.TABLES["sources"].columns, "inserted_at")


@pytest.fixture(scope="module")
def query(clickhouse: str) -> Iterator[Query]:
    """A gateway that is well, one that was killed and closed, one that waits for Kafka, and one nobody spoke for."""
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database="board_audit"))
    schema.apply(connection)
    twice = exchange(7, 10, 3)
    twice.request.task = "another"
    put(connection, topics.EXCHANGES, *(of("well", n) for n in (1, 2)), exchange(7, 10, 1), twice)
    put(connection, topics.EXCHANGES, *(of("killed", n) for n in (1, 2, 4)), of("waiting", 1), of("untold", 2))
    tell(connection, state("well", 2, 2))
    tell(connection, state("killed", 5, 5, ended=True))
    tell(connection, state("waiting", 4, 1, oldest_ago_s=LONG_AGO_S + 40))
    yield connection.query
    connection.close()


def of(source: str, sequence: int) -> events.Exchange:
    made = exchange(100 * len(source) + sequence, 20, sequence)
    made.source = source
    return made


def put(connection: ClickHouse, topic: Topic, *messages: Any) -> None:
    for number, message in enumerate(messages):  # Each in an insert of its own: nothing is folded before FINAL.
        row = rows.row(topics.encode(topic, message))
        connection.insert(topic.name, rows.TABLES[topic.name].columns, [row], f"{message.source}-{number}")


def state(
    source: str, last: int, acknowledged: int, oldest_ago_s: int = 0, *, ended: bool = False
) -> events.SourceState:
    made = events.SourceState(source=source, last_sequence=last, acknowledged=acknowledged, ended=ended)
    made.at.FromDatetime(datetime.now(UTC))
    if oldest_ago_s:
        made.oldest_unacknowledged_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=oldest_ago_s))
    return made


def tell(connection: ClickHouse, told: events.SourceState) -> None:
    """As the sink does, but long ago; and it was heard of just now."""
    for ago_s in (LONG_AGO_S, 0):
        row = [*rows.row(topics.encode(topics.SOURCES, told)), datetime.now(UTC) - timedelta(seconds=ago_s)]
        connection.insert("sources", COLUMNS, [row], f"{told.source}-{ago_s}")


def number(query: Query, title: str) -> Any:
    [row] = query(expanded(QUERIES[title]))
    [value] = row.values()
    return value


@pytest.mark.contract
def test_each_source_has_a_line_the_worst_first(query: Query) -> None:
    lines = query(expanded(QUERIES["The ledger, by source"]))
    names = ("source", "state", "answered", "on_kafka", "stored", "missing", "duplicates")
    assert [tuple(line[name] for name in names) for line in lines] == [
        ("killed", "ended", 5, 5, 3, 2, 0),
        ("gateway-1", "untold", 3, 3, 2, 1, 1),
        ("untold", "untold", 2, 2, 1, 1, 0),
        ("waiting", "open", 4, 1, 1, 0, 0),
        ("well", "open", 2, 2, 2, 0, 0),
    ]
    ages_s = {line["source"]: line["oldest_unacknowledged_s"] for line in lines}
    assert ages_s.pop("waiting") >= LONG_AGO_S + 40
    assert set(ages_s.values()) == {0}


@pytest.mark.contract
def test_the_sums_are_those_of_the_lines(query: Query) -> None:
    assert number(query, "Lost exchanges") == 4
    assert number(query, "Answered, not yet on Kafka") == 3
    assert number(query, "Stored twice") == 1
    assert number(query, "Oldest that Kafka has not") >= LONG_AGO_S + 40
