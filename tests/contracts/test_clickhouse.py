"""What services.clickhouse promises, asked of ClickHouse itself and of its fake."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uuid_utils

from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.settings import ClickHouseSettings
from services.sink import schema
from services.sink.rows import TABLES
from services.sink.wire import row
from services.topics import SOURCES, encode
from tests.fakes.clickhouse import FakeClickHouse, FakeServer

TABLE = "CREATE TABLE IF NOT EXISTS things (n UInt64) ENGINE = ReplacingMergeTree ORDER BY n"
WINDOW = " SETTINGS non_replicated_deduplication_window = 100"


@dataclass
class Place:
    """A ClickHouse that answers, and one that is away."""

    there: ClickHouse
    away: ClickHouse


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.contract)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        server = FakeServer(refuse=lambda _table, row: "out of range" if row.get("n", 0) < 0 else "")
        found = Place(FakeClickHouse(server), FakeClickHouse(FakeServer(away=True)))
    else:
        url = request.getfixturevalue("clickhouse")
        found = Place(connection(url), connection("http://127.0.0.1:1"))
    found.there.create_database()
    found.there.command(TABLE + WINDOW)
    yield found
    found.there.close()


def connection(url: str) -> ClickHouse:
    return ClickHouse(ClickHouseSettings(clickhouse_url=url, clickhouse_database=f"t{uuid_utils.uuid7().hex}"))


def stored(clickhouse: ClickHouse) -> list[int]:
    return sorted(row["n"] for row in clickhouse.query("SELECT n FROM things"))


def test_what_is_inserted_is_there(place: Place) -> None:
    place.there.insert("things", ["n"], [[1], [2]], token="a")
    assert stored(place.there) == [1, 2]


def test_the_same_token_again_inserts_nothing(place: Place) -> None:
    for _ in range(2):
        place.there.insert("things", ["n"], [[1], [2]], token="a")
    place.there.insert("things", ["n"], [[3]], token="b")
    assert stored(place.there) == [1, 2, 3]


def test_a_row_that_cannot_be_taken_is_a_bad_event_and_takes_its_companions_with_it(place: Place) -> None:
    with pytest.raises(BadEvent, match="things"):
        place.there.insert("things", ["n"], [[1], [-1]], token="a")
    assert stored(place.there) == []
    place.there.insert("things", ["n"], [[1]], token="b")
    assert stored(place.there) == [1]


def test_rows_that_the_server_reads_itself_are_there_once_by_one_token(place: Place) -> None:
    schema.apply(place.there)
    rows = [row(encode(SOURCES, events.SourceState(source=name))) for name in "abc"]
    for _ in range(2):
        place.there.load("sources", TABLES["sources"].insert, rows[:2], token="a")
    place.there.load("sources", TABLES["sources"].insert, rows[2:], token="b")
    assert sorted(one["source"] for one in place.there.query("SELECT source FROM sources")) == ["a", "b", "c"]


def test_a_server_that_is_away_is_overloaded(place: Place) -> None:
    with pytest.raises(Overloaded):
        place.away.create_database()
    with pytest.raises(Overloaded):
        place.away.query("SELECT n FROM things")
    with pytest.raises(Overloaded):
        place.away.insert("things", ["n"], [[1]], token="a")
    with pytest.raises(Overloaded):
        place.away.load("sources", TABLES["sources"].insert, [], token="a")


def test_making_what_is_there_changes_nothing(place: Place) -> None:
    place.there.insert("things", ["n"], [[1]], token="a")
    place.there.create_database()
    place.there.command(TABLE + WINDOW)
    assert stored(place.there) == [1]


@pytest.fixture
def real(clickhouse: str) -> Iterator[ClickHouse]:
    made = connection(clickhouse)
    made.create_database()
    yield made
    made.close()


@pytest.mark.contract
@pytest.mark.parametrize("wrong", ["SELECT nothing FROM system.one", "SELEC 1", "SELECT toUInt8('x')"])
def test_a_wrong_statement_is_neither_overload_nor_a_bad_event(real: ClickHouse, wrong: str) -> None:
    with pytest.raises(Exception, match="DB::Exception") as raised:
        real.query(wrong)
    assert not isinstance(raised.value, (Overloaded, BadEvent))


@pytest.mark.contract
def test_a_column_that_is_not_there_stops_an_insert_for_good(real: ClickHouse) -> None:
    real.command(TABLE)
    with pytest.raises(Exception, match="'m'") as raised:
        real.insert("things", ["m"], [[1]], token="a")
    assert not isinstance(raised.value, (Overloaded, BadEvent))


@pytest.mark.contract
def test_a_table_that_is_not_there_yet_is_waited_for(real: ClickHouse) -> None:
    with pytest.raises(Overloaded, match="nowhere"):
        real.insert("nowhere", ["n"], [[1]], token="a")
    with pytest.raises(Overloaded, match="nowhere"):
        real.query("SELECT n FROM nowhere")


@pytest.mark.contract
def test_parameters_are_bound_by_the_server(real: ClickHouse) -> None:
    assert real.query("SELECT {text:String} AS text", {"text": "it's; --"}) == [{"text": "it's; --"}]
