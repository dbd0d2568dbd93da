from deploy.local import clickhouse_go

HELLO = b"SELECT displayName(), version(), revision(), timezone()"


def test_only_a_client_that_speaks_of_its_revision_is_greeted() -> None:
    assert clickhouse_go.is_hello(HELLO, "54483")
    assert not clickhouse_go.is_hello(HELLO, "")
    assert not clickhouse_go.is_hello(HELLO, "0")
    assert not clickhouse_go.is_hello(HELLO + b", 1", "54483")


def test_the_greeting_is_one_row_that_names_revision_0() -> None:
    block = clickhouse_go.hello("26.9.2.1", "UTC")
    assert block[:10] == b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01"
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00" in block
    assert block.endswith(b"\x0atimezone()\x06String\x00\x03UTC")
