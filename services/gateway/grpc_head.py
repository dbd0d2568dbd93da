"""A gRPC call's head and end as HTTP/2 headers: read from its caller, and written for him. Pure."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import grpc
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple

HEAD_MOST: Final = 16 * 1024
"""Bytes of a call's headers, decoded; gRPC's own servers take as many."""
REMEMBERED: Final = 64
"""Heads of a connection: its calls begin with the same bytes again and again."""
REMEMBERED_BYTES: Final = 2048
"""Of a block, and of what it says, that are remembered: longer ones cost a stranger little, and the memory of many."""
CONTENT_TYPE: Final = "application/grpc"
ENCODINGS: Final = ("identity", "gzip", "deflate")
TEXT_MOST: Final = 6_000
"""Characters of a status's text as it is sent, of the 8,192 bytes that clients take in all."""
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT: Final = re.compile(r"(\d{1,8})([HMSmun])")
_OURS: Final = frozenset({"te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"})
_PLAIN: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """How a call begins."""

    path: str
    timeout_s: float | None
    """Until the caller's deadline; None where he has none."""
    metadata: Metadata
    encoding: str
    """How its compressed messages are."""
    http_status: int = 200
    """Another one where it is no call of gRPC at all."""
    wrong: str = ""
    """What gRPC does not allow in it."""

    @property
    def size(self) -> int:
        """Characters and bytes of it."""
        return len(self.path) + len(self.encoding) + sum(len(name) + len(value) for name, value in self.metadata)


class Heads:
    """Reads a connection's headers. What it has read with the same table already, it knows by its bytes."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=HEAD_MOST)
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Raises hpack.HPACKError, after which nothing on the connection can be read."""
        if head := self._known.get(block):
            return head
        before = self._table()
        head = parsed(self._decoder.decode(block, raw=True))
        after = self._table()
        if before[0] is not after[0] or before[1:] != after[1:] or len(self._known) >= REMEMBERED:
            self._known.clear()
        elif len(block) + head.size <= REMEMBERED_BYTES:
            self._known[block] = head
        return head

    def _table(self) -> tuple[Any, int, int]:
        """What tells whether the table has changed: its newest entry itself, for another may come to lie there."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return entries[0] if entries else None, len(entries), table.maxsize


def parsed(headers: Iterable[HeaderTuple]) -> Head:
    """The head that these headers are."""
    told: dict[str, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    try:
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            if name in _OURS or name.startswith(":"):
                told[name] = value
            elif name.endswith("-bin"):
                metadata += [(name, _from_base64(part.strip())) for part in value.split(",")]
            else:
                metadata.append((name, value))
        timeout_s, wrong = _timeout_s(told.get("grpc-timeout")), ""
    except (ValueError, binascii.Error) as error:
        timeout_s, wrong = None, f"headers that gRPC does not allow: {error}"
    encoding = told.get("grpc-encoding", "identity")
    return Head(told.get(":path", ""), timeout_s, tuple(metadata), encoding, _http_status(told), wrong)


def _http_status(told: dict[str, str]) -> int:
    if told.get(":method") != "POST":
        return 405
    kind = told.get("content-type", "")
    return 200 if kind == CONTENT_TYPE or kind.startswith((CONTENT_TYPE + "+proto", CONTENT_TYPE + ";")) else 415


def _timeout_s(text: str | None) -> float | None:
    if text is None:
        return None
    if not (found := _TIMEOUT.fullmatch(text)):
        raise ValueError(f"grpc-timeout: {text[:20]!r}")
    return int(found[1]) * _UNITS[found[2]]


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def block(*headers: tuple[str, str]) -> bytes:
    """Headers, so written that they leave the peer's table alone and mean the same at any time."""
    return Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in headers])


_BEGIN: Final = (
    (":status", "200"),
    ("content-type", CONTENT_TYPE),
    ("grpc-accept-encoding", ",".join(ENCODINGS)),
)
BEGIN: Final = block(*_BEGIN)
"""Before the first message."""
WELL: Final = block(("grpc-status", "0"))
"""After the last one."""


def status(code: grpc.StatusCode, text: str, metadata: Metadata = (), *, has_begun: bool) -> bytes:
    """The headers that a call ends with; with those that it begins with, where nothing was sent before."""
    headers = [] if has_begun else [*_BEGIN]
    headers.append(("grpc-status", str(code.value[0])))
    if text:
        headers.append(("grpc-message", _percent_encoded(text)))
    for name, value in metadata:
        headers.append((name, base64.b64encode(value).decode() if isinstance(value, bytes) else value))
    return block(*headers)


def _percent_encoded(text: str) -> str:
    encoded = quote(text, safe=_PLAIN, errors="replace")
    if len(encoded) <= TEXT_MOST:
        return encoded
    bytes_left = unquote_to_bytes(re.sub("%.?$", "", encoded[:TEXT_MOST]))
    return quote(bytes_left.decode(errors="ignore"), safe=_PLAIN)
