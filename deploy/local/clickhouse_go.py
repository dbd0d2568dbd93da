"""The greeting of clickhouse-go, which Grafana's ClickHouse plugin is made of.

Over HTTP it asks a server for its protocol revision and reads every later answer by that revision. The engine writes
Native as for revision 0, so that is what it has to hear; the greeting alone is read by the client's own revision.
"""

import re
from typing import Final

from deploy.local.clickhouse_sql import varint

_HELLO: Final = re.compile(rb"SELECT displayName\(\), version\(\), revision\(\), timezone\(\)\s*")
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # No overflow, no bucket: what goes before every block.
_NO_CUSTOM_SERIALIZATION: Final = b"\x00"


def is_hello(text: bytes, client_protocol_version: str) -> bool:
    """Whether this is the greeting."""
    return client_protocol_version not in {"", "0"} and _HELLO.fullmatch(text) is not None


def hello(version: str, timezone: str) -> bytes:
    """The answer: one Native block of one row, as clients of revision 54454 and later read it."""
    texts = [("displayName()", "String", "local"), ("version()", "String", version)]
    columns = [_column(name, kind, _text(value)) for name, kind, value in texts]
    columns.append(_column("revision()", "UInt32", (0).to_bytes(4, "little")))
    columns.append(_column("timezone()", "String", _text(timezone)))
    return _BLOCK_INFO + varint(len(columns)) + varint(1) + b"".join(columns)


def _column(name: str, kind: str, data: bytes) -> bytes:
    return _text(name) + _text(kind) + _NO_CUSTOM_SERIALIZATION + data


def _text(value: str) -> bytes:
    return varint(len(value.encode())) + value.encode()
