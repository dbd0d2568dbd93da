"""The board's part on the ledger: figures that agree, a loss, a tail that is known, and an id that stands twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protos import events_pb2 as events
from services import topics
from services.clickhouse import ClickHouse
from services.settings import ClickHouseSettings
from services.sink import schema
from tests.deploy.board_rows import exchange
from tests.deploy.test_board import QUERIES, Query, expanded, put

LONG_AGO_S = 300
STATE = ("source", "last_sequence", "acknowledged", "ended", "oldest_unacknowledged_at", "at", "inserted_at")
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def query(clickhouse: str) -> Iterator[Query]:
    """A gateway that is well, one that was killed and closed, one that waits for Kafka, and one nobody spoke for."""
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database="board_audit"))
    schema.apply(connection)
    twice = exchange(7, 10, 3)
    twice.request.task = "another"
    places = [("well", 1), ("well", 2), ("killed", 1), ("killed", 2), ("killed", 4), ("waiting", 1), ("untold", 2)]
    put(connection, topics.EXCHANGES, [exchange(7, 10, 1), twice, *(of(*place) for place in places)])
    tell(connection, "well", 2, 2)
    tell(connection, "killed", 5, 5, ended=True)
    tell(connection, "waiting", 4, 1, oldest_ago_s=LONG_AGO_S + 40)
    yield connection.query
    connection.close()


def of(source: str, sequence: int) -> events.Exchange:
    made = exchange(100 * len(source) + sequence, 20, sequence)
    made.source = source
    return made


def tell(
    connection: ClickHouse, source: str, last: int, acknowledged: int, oldest_ago_s: int = 0, *, ended: bool = False
) -> None:
    """As the sink does, but long ago; and it was heard of just now."""
    now = datetime.now(UTC)
    oldest = now - timedelta(seconds=oldest_ago_s) if oldest_ago_s else NEVER
    for ago_s in (LONG_AGO_S, 0):
        at = now - timedelta(seconds=ago_s)
        row = (source, last, acknowledged, ended, oldest, at, at)
        connection.insert("sources", STATE, [row], f"{source}-{ago_s}")


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
