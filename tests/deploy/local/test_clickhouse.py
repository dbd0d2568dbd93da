"""What clickhouse-connect, curl and the like may ask of the ClickHouse engine behind HTTP."""

import gzip
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part, Running
from deploy.local.parts import clickhouse_command
from tests.fixtures.engines import started

pytestmark = pytest.mark.contract


def connect(url: str, database: str = "default") -> Client:
    return clickhouse_connect.get_client(
        host=HOST, port=urlsplit(url).port, database=database, compress=False, autogenerate_session_id=False
    )


def http(url: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """What curl would get: status, headers, body."""
    connection = HTTPConnection(HOST, urlsplit(url).port, timeout=30)
    try:
        connection.request("POST" if body is not None else "GET", target, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


@pytest.fixture
def client(clickhouse: str) -> Iterator[Client]:
    """A client in a database of its own."""
    name = f"t{uuid.uuid4().hex}"
    with connect(clickhouse) as first:
        first.command(f"CREATE DATABASE {name}")
    with connect(clickhouse, name) as own:
        yield own
        own.command(f"DROP DATABASE {name} SYNC")


TYPES = (
    "id UUID, at DateTime64(6, 'UTC'), cost Decimal(18, 9), tags Array(String), meta Map(String, String), "
    "request String, task LowCardinality(String), rating Nullable(Float64)"
)
ROW = [
    uuid.UUID(int=7),
    datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    Decimal("0.000000001"),
    ["a", "it's\0;"],
    {"k": "v"},
    json.dumps({"messages": ["line\n'quoted'"]}),
    "address-extraction",
    None,
]


def test_every_type_of_ours_comes_back_as_it_was_sent(client: Client) -> None:
    client.command(f"CREATE TABLE x ({TYPES}) ENGINE = MergeTree ORDER BY id")
    client.insert("x", [ROW], column_names="*")
    back = client.query("SELECT * FROM x", column_tzs={"at": "UTC"}, tz_mode="aware")
    assert list(back.result_rows[0]) == ROW


def test_a_replacing_table_folds_duplicates_under_final(client: Client) -> None:
    client.command("CREATE TABLE x (id UInt8, n UInt8) ENGINE = ReplacingMergeTree(n) ORDER BY id")
    for n in (1, 3, 2):
        client.insert("x", [[7, n]], column_names=["id", "n"])
    assert client.query("SELECT count() FROM x").result_rows == [(3,)]
    assert client.query("SELECT id, n FROM x FINAL").result_rows == [(7, 3)]


def test_the_same_deduplication_token_inserts_once(client: Client) -> None:
    window = "SETTINGS non_replicated_deduplication_window = 100"
    client.command(f"CREATE TABLE x (n UInt8) ENGINE = MergeTree ORDER BY n {window}")
    for token in ("a", "a", "b"):
        client.insert("x", [[1]], column_names=["n"], settings={"insert_deduplication_token": token})
    assert client.query("SELECT count() FROM x").result_rows == [(2,)]


def test_parameters_are_bound_by_the_server(client: Client) -> None:
    nasty = "it's \\ a\ttab\nand a line"
    sql = "SELECT {text:String} AS text, {ids:Array(UInt32)} AS ids, {at:DateTime64(6)} AS at"
    row = client.query(sql, parameters={"text": nasty, "ids": [1, 2], "at": datetime(2025, 1, 2, 3, 4, 5, 6)})
    assert row.result_rows == [(nasty, [1, 2], datetime(2025, 1, 2, 3, 4, 5, 6))]


def test_long_parameters_go_as_a_form(client: Client) -> None:
    client.form_encode_query_params = True
    assert client.query("SELECT length({text:String})", parameters={"text": "x" * 100_000}).result_rows == [(100_000,)]


def test_an_answer_without_rows_still_has_columns(client: Client) -> None:
    client.command("CREATE TABLE x (id UInt8, name String) ENGINE = MergeTree ORDER BY id")
    assert client.query("SELECT * FROM x WHERE id = 1").column_names == ("id", "name")


def test_settings_of_one_request_do_not_leak_into_the_next(client: Client) -> None:
    ask = "SELECT getSetting('max_block_size')"
    assert client.query(ask, settings={"max_block_size": 123}).result_rows == [(123,)]
    assert client.query(ask).result_rows != [(123,)]


def test_errors_reach_the_driver_with_clickhouses_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match=r"code: 60.*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nowhere")
    client.command("CREATE TABLE x (id UInt8) ENGINE = MergeTree ORDER BY id")
    with pytest.raises(DatabaseError, match=r"code: 16.*NO_SUCH_COLUMN_IN_TABLE"):
        client.raw_insert("x", ["nothing"], b"1", fmt="CSV")


def test_a_batch_with_a_bad_row_leaves_nothing(client: Client) -> None:
    client.command("CREATE TABLE x (id UInt8) ENGINE = MergeTree ORDER BY id")
    with pytest.raises(DatabaseError, match="code: 27"):
        client.raw_insert("x", ["id"], b'{"id": 1}\n{"id": "one"}\n', fmt="JSONEachRow")
    assert client.query("SELECT count() FROM x").result_rows == [(0,)]


def test_an_insert_may_select_from_its_own_data(client: Client) -> None:
    client.command("CREATE TABLE t (n UInt8, text String) ENGINE = MergeTree ORDER BY n")
    statement = b"INSERT INTO t SELECT n * 2, concat(s, '!') FROM input('n UInt8, s String') FORMAT JSONEachRow\n"
    summary = client.raw_insert("", insert_block=statement + b'{"n": 1, "s": "a"}\n{"n": 2, "s": "b"}\n')
    assert summary.written_rows == 2
    assert client.query("SELECT n, text FROM t ORDER BY n").result_rows == [(2, "a!"), (4, "b!")]
    with pytest.raises(DatabaseError, match="Code: "):
        client.raw_insert("", insert_block=statement + b'{"n": 3, "s": "a"}\n{"n": "x"}\n')
    assert client.query("SELECT count() FROM t").result_rows == [(2,)]


def test_curl_inserts_and_selects_json_lines(clickhouse: str, client: Client) -> None:
    client.command("CREATE TABLE x (id UInt8, name String) ENGINE = MergeTree ORDER BY id")
    place = f"/?database={client.database}"
    insert = quote("INSERT INTO x FORMAT JSONEachRow")
    assert http(clickhouse, f"{place}&query={insert}", b'{"id": 1, "name": "a"}\n')[0] == 200
    assert http(clickhouse, place, b'INSERT INTO x FORMAT JSONEachRow\n{"id": 2, "name": "b"}')[0] == 200
    packed = gzip.compress(b"INSERT INTO x VALUES (3, 'c')")
    assert http(clickhouse, place, packed, **{"Content-Encoding": "gzip"})[0] == 200
    status, headers, body = http(clickhouse, place, b"SELECT id, name FROM x ORDER BY id FORMAT JSONEachRow")
    assert (status, headers["X-ClickHouse-Format"]) == (200, "JSONEachRow")
    assert body == b'{"id":1,"name":"a"}\n{"id":2,"name":"b"}\n{"id":3,"name":"c"}\n'
    assert json.loads(headers["X-ClickHouse-Summary"])["read_rows"] == "3"


def test_parameters_and_the_default_format_may_stand_in_the_url(clickhouse: str) -> None:
    ask = f"/?query={quote('SELECT {n:UInt8} AS n, {s:String} AS s')}&param_n=7&param_s={quote('a b')}"
    status, headers, body = http(clickhouse, f"{ask}&default_format=JSONEachRow&query_id=mine")
    assert (status, body, headers["X-ClickHouse-Query-Id"]) == (200, b'{"n":7,"s":"a b"}\n', "mine")


def test_curl_gets_errors_as_clickhouse_gives_them(clickhouse: str) -> None:
    for target, status, code in (
        (f"/?query={quote('SELEC 1')}", 400, "62"),
        (f"/?query={quote('SELECT 1')}&no_such_setting=1", 404, "115"),
        (f"/?query={quote('SELECT 1')}&database=nowhere", 404, "81"),
        (f"/?query={quote('CREATE DATABASE by_a_link')}", 403, "164"),
        (f"/?query={quote('SELECT 1')}&compress=1", 501, "48"),
    ):
        got, headers, body = http(clickhouse, target)
        assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, code)
        assert body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_a_body_in_an_unknown_encoding_is_refused_with_what_is_known(clickhouse: str) -> None:
    status, _, body = http(clickhouse, "/", b"SELECT 1", **{"Content-Encoding": "zstd"})
    assert (status, b"gzip" in body) == (415, True)


def test_it_is_alive_for_those_who_ping(clickhouse: str) -> None:
    assert [http(clickhouse, target)[::2] for target in ("/ping", "/")] == [(200, b"Ok.\n")] * 2


def test_requests_do_not_wait_for_one_another(clickhouse: str, client: Client) -> None:
    sleeping = f"/?query={quote('SELECT sleep(3)')}"
    with ThreadPoolExecutor(3) as threads:
        slow = threads.submit(http, clickhouse, sleeping)
        assert [client.query("SELECT 1").result_rows for _ in range(5)] == [[(1,)]] * 5
        assert not slow.done()
        assert slow.result()[0] == 200


def test_concurrent_inserts_all_arrive(clickhouse: str, client: Client) -> None:
    client.command("CREATE TABLE x (n UInt32) ENGINE = MergeTree ORDER BY n")

    def insert(worker: int) -> None:
        with connect(clickhouse, client.database or "") as own:
            for batch in range(5):
                own.insert("x", [[worker * 1000 + batch * 100 + i] for i in range(100)], column_names=["n"])

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(insert, range(6)))
    assert client.query("SELECT count(), uniqExact(n) FROM x").result_rows == [(3000, 3000)]


@pytest.mark.parametrize("refusing", ["the table", "a view of it"])
def test_rows_that_are_refused_only_when_they_are_written_are_an_error_and_not_there(
    client: Client, refusing: str
) -> None:
    client.command("CREATE TABLE x (n UInt32) ENGINE = MergeTree ORDER BY n")
    if refusing == "the table":
        client.command("ALTER TABLE x ADD CONSTRAINT no_seven CHECK n != 7")
    else:
        client.command("CREATE MATERIALIZED VIEW y ENGINE = MergeTree ORDER BY n AS SELECT n, throwIf(n = 7) FROM x")
    with pytest.raises(DatabaseError, match=r"Code: (469|395)"):
        client.insert("x", [[6], [7]], column_names=["n"])
    client.insert("x", [[8]], column_names=["n"], settings={"insert_deduplication_token": "t"})
    client.command("INSERT INTO x (n) SETTINGS async_insert = 0 VALUES (9)")
    assert set(client.query("SELECT n FROM x WHERE n > 7").result_rows) == {(8,), (9,)}


def test_a_hundred_thousand_rows_in_one_insert(client: Client, record_property: pytest.FixtureRequest) -> None:
    client.command("CREATE TABLE x (n UInt32, text String) ENGINE = MergeTree ORDER BY n")
    began_s = time.perf_counter()
    client.insert("x", [[n, "x" * 550] for n in range(100_000)], column_names=["n", "text"])
    print(f"{100_000 / (time.perf_counter() - began_s):,.0f} rows/s of 550 bytes")  # noqa: T201 - seen with pytest -s
    assert client.query("SELECT count(), uniqExact(n) FROM x").result_rows == [(100_000, 100_000)]


def server(directory: Path, port: int, *more: str) -> Part:
    argv = (*clickhouse_command(directory / "data", port), *more)
    return Part("clickhouse", argv, lambda: ready.answers_http(f"http://{HOST}:{port}/ping"))


def test_a_request_that_is_too_large_is_told_the_limit(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with started(server(tmp_path, port, "--max-request-bytes", "1000"), tmp_path / "log"):
        status, _, body = http(f"http://{HOST}:{port}", "/", b"SELECT '" + b"x" * 2000 + b"'")
    assert (status, b"1000 bytes" in body) == (413, True)


@pytest.mark.parametrize("end", [Running.stop, Running.kill])
def test_what_was_acknowledged_is_there_after_a_restart_and_after_kill_9(tmp_path: Path, end: object) -> None:
    assert callable(end)
    part, url = server(tmp_path, port := free_ports(1)[0]), f"http://{HOST}:{port}"
    with started(part, tmp_path / "log") as running:
        assert http(url, "/", b"CREATE TABLE x (n UInt8) ENGINE = MergeTree ORDER BY n")[0] == 200
        assert http(url, "/", b"INSERT INTO x VALUES (1), (2)")[0] == 200
        end(running)
    with started(part, tmp_path / "log"):
        assert http(url, "/", b"SELECT sum(n) FROM x")[2] == b"3\n"
