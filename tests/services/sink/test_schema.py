"""The DDL is applied in order, once."""

import re

from services.sink import schema
from tests.fakes.clickhouse import FakeClickHouse, FakeServer

REPEATABLE = re.compile(
    r"IF NOT EXISTS|^CREATE OR REPLACE VIEW|^ALTER TABLE \w+ MODIFY QUERY|^INSERT INTO ledger_blocks"
)  # Its bitmaps take the same sequences again.


def test_a_file_is_cut_into_statements_without_its_comments() -> None:
    sql = "-- one; two;\nCREATE TABLE a (\n  b String -- ';' inside\n);\n\nCREATE TABLE c (d UInt8);\n-- end\n"
    assert [statement.split()[2] for statement in schema.statements(sql)] == ["a", "c"]


def test_every_file_has_its_own_number_and_every_statement_may_run_again() -> None:
    paths = sorted(schema.FILES.glob("*.sql"))
    assert len({path.name[:4] for path in paths}) == len(paths) >= 1
    for path in paths:
        assert all(REPEATABLE.search(statement) for statement in schema.statements(path.read_text()))


def test_what_is_applied_is_noted_and_not_applied_again() -> None:
    server = FakeServer()
    schema.apply(FakeClickHouse(server))
    assert {"exchanges", "ledger", "feedback", "candidates", "runs", "promotions", "golden"} <= set(server.tables)
    noted = list(server.tables["schema_versions"])
    assert [row["name"] for row in noted] == sorted(path.name for path in schema.FILES.glob("*.sql"))
    server.tables.pop("golden")
    schema.apply(FakeClickHouse(server))
    assert "golden" not in server.tables
    assert server.tables["schema_versions"] == noted


def test_the_secret_of_the_erasures_is_made_once_also_by_sinks_that_start_together() -> None:
    server, other = FakeServer(), FakeServer()
    for at in (server, server, other):
        schema.apply(FakeClickHouse(at))
    [row] = server.tables["erasure_key"]
    assert len(row["key"]) == 64
    assert row["key"] != other.tables["erasure_key"][0]["key"]
