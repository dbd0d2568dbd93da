import pytest

from deploy.local import clickhouse_sql as sql


@pytest.mark.parametrize(
    ("text", "statement", "name", "data"),
    [
        (b'INSERT INTO t FORMAT JSONEachRow\n{"a": 1}', "INSERT INTO t ", "JSONEachRow", b'{"a": 1}'),
        (b'insert into t format JSONEachRow {"a": 1}', "insert into t ", "JSONEachRow", b'{"a": 1}'),
        (b"INSERT INTO t (a, b) FORMAT Native\r\n\n\x00", "INSERT INTO t (a, b) ", "Native", b"\n\x00"),
        (b"INSERT INTO t VALUES (1), (2)", "INSERT INTO t ", "Values", b" (1), (2)"),
        (b"INSERT INTO `values` (`format`) VALUES (1)", "INSERT INTO `values` (`format`) ", "Values", b" (1)"),
        (b"INSERT INTO t (format, select) FORMAT CSV\n1,2", "INSERT INTO t (format, select) ", "CSV", b"1,2"),
        (b"INSERT INTO t /* FORMAT TSV */ FORMAT CSV\n1", "INSERT INTO t /* FORMAT TSV */ ", "CSV", b"1"),
        (b"INSERT INTO t SETTINGS s = 'FORMAT x' FORMAT CSV\n1", "INSERT INTO t SETTINGS s = 'FORMAT x' ", "CSV", b"1"),
    ],
)
def test_an_insert_is_cut_where_its_data_begins(text: bytes, statement: str, name: str, data: bytes) -> None:
    assert sql.split_insert(text) == sql.Insert(statement, name, data)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t SELECT * FROM u FORMAT CSV",
        b"INSERT INTO t (a) SELECT 'VALUES'",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
    ],
)
def test_a_statement_without_data_of_its_own_is_left_whole(text: bytes) -> None:
    assert sql.split_insert(text) is None


def test_an_insert_that_selects_from_its_own_data_can_read_them_from_a_file_instead() -> None:
    text = b"INSERT INTO t (a) SETTINGS x = 'input(' SELECT f(n) FROM input('n UInt8, s String') FORMAT Protobuf\n\x01)"
    insert = sql.split_insert(text)
    assert insert is not None
    assert (insert.input_format, insert.data) == ("Protobuf", b"\x01)")
    assert insert.reading("/it's") == (
        r"INSERT INTO t (a) SETTINGS x = 'input(' SELECT f(n) FROM file('/it\'s', 'Protobuf', 'n UInt8, s String') "
    )


def test_the_query_parameter_comes_before_the_body() -> None:
    text = sql.full_text("INSERT INTO t FORMAT CSV", b"1,2\n")
    assert sql.split_insert(text) == sql.Insert("INSERT INTO t ", "CSV", b"1,2\n")


def test_the_statements_own_format_wins_over_the_default() -> None:
    assert sql.output_format(b"SELECT 'FORMAT x' FORMAT JSON SETTINGS max_threads = 1;", "CSV") == "JSON"
    assert sql.output_format(b"SELECT 'FORMAT CSV'", "TabSeparated") == "TabSeparated"


def test_comments_before_the_first_word_do_not_hide_it() -> None:
    assert sql.strip_comments(b"-- who asks\n /* why */ SELECT 1") == b"SELECT 1"
    assert sql.returns_rows(sql.strip_comments(b"/* x */ (SELECT 1)"))
    assert not sql.returns_rows(b"CREATE TABLE t (a UInt8) ENGINE = Memory")


def test_settings_are_quoted_and_their_names_checked() -> None:
    assert sql.set_statement({"a": "it's \\"}) == r"SET a = 'it\'s \\'"
    assert not sql.set_statement({})
    with pytest.raises(ValueError, match="is not a name"):
        sql.set_statement({"a = 1, b": "2"})


def test_an_error_keeps_its_code_and_gets_clickhouses_http_status() -> None:
    code, message = sql.error_of("Streaming insert failed: Code: 60. DB::Exception: no table t. (UNKNOWN_TABLE)")
    assert (code, message) == (60, "Code: 60. DB::Exception: no table t. (UNKNOWN_TABLE)")
    assert [sql.http_status(number) for number in (60, 62, 164, 159, 0)] == [404, 400, 403, 408, 500]


def test_a_block_without_rows_still_names_its_columns() -> None:
    assert sql.empty_native_block([("a", "UInt8")]) == b"\x01\x00\x01a\x05UInt8"
    assert sql.empty_native_block([("n" * 200, "T")])[2:4] == b"\xc8\x01"
