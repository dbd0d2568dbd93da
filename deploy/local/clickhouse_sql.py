"""What an HTTP request means to the ClickHouse engine: pure parsing, no IO.

ClickHouse takes the `query` parameter, a line break and the body as one text; an INSERT's data starts inside it.
"""

import re
from dataclasses import dataclass
from typing import Final

_HTTP_PARAMETERS: Final = """
    query database default_format query_id user password quota_key role stacktrace session_id session_timeout
    session_check compress decompress enable_http_compression buffer_size wait_end_of_query client_protocol_version
    send_progress_in_http_headers http_headers_progress_interval_ms
"""
NOT_SETTINGS: Final = frozenset(_HTTP_PARAMETERS.split())
"""Parameters that ClickHouse's HTTP layer uses up itself; every other one is a setting of the query."""

# Codes that ClickHouse's own HTTP layer does not answer with 500.
_NOT_FOUND: Final = frozenset({46, 47, 50, 56, 60, 73, 81, 115, 141})
_BAD_REQUEST: Final = frozenset({6, 26, 27, 36, 38, 41, 42, 43, 53, 62, 69, 70, 72, 117, 130, 349, 457})
_STATUS_BY_CODE: Final = {48: 501, 159: 408, 164: 403, 241: 507, 497: 403}

_INSERT: Final = re.compile(rb"\s*INSERT\b", re.IGNORECASE)
_READ: Final = re.compile(rb"[\s(]*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK|FROM)\b", re.IGNORECASE)
_COMMENTS: Final = re.compile(rb"(\s+|--[^\n]*(\n|$)|#![^\n]*(\n|$)|/\*.*?\*/)+", re.DOTALL)
_TOKEN: Final = re.compile(
    rb"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\w+|.", re.DOTALL
)
_FORMAT_NAME: Final = re.compile(rb"\s*(\w+)[ \t\f]*\r?\n?")
_LAST_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)(?:\s+SETTINGS\b[^']*)?[\s;]*$", re.IGNORECASE)
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Insert:
    """An INSERT that carries its data: the statement up to the format, the format's name, the data.

    `reads_at` is where in the statement the table function `input` stands, whose rows the data are; None without it.
    """

    statement: str
    input_format: str
    data: bytes
    reads_at: int | None = None

    def reading(self, path: str) -> str:
        """The statement with the same rows read of a file instead."""
        before, after = self.statement[: self.reads_at], self.statement[self.reads_at :]
        return before + re.sub(r"^\w+\s*\(", lambda _: f"file({quote(path)}, {quote(self.input_format)}, ", after)


def full_text(query: str, body: bytes) -> bytes:
    """The one text that ClickHouse makes of the `query` parameter and the body."""
    return query.encode() + b"\n" + body if query else body


def strip_comments(text: bytes) -> bytes:
    """The text from its first word on."""
    match = _COMMENTS.match(text)
    return text[match.end() :] if match else text


def split_insert(text: bytes) -> Insert | None:
    """The parts of an INSERT with data; None for everything else, INSERT ... SELECT of what lies in tables included."""
    if not _INSERT.match(text):
        return None
    depth, selects, reads_at = 0, False, None
    for token in _TOKEN.finditer(text):
        word = token.group().upper()
        depth += (word == b"(") - (word == b")")
        if depth:
            continue
        match word:
            case b"INFILE":
                return None
            case b"SELECT" | b"WITH":
                selects = True
            case b"INPUT":
                reads_at = len(text[: token.start()].decode())
            case b"VALUES" if not selects:
                return Insert(text[: token.start()].decode(), "Values", text[token.end() :])
            case b"FORMAT" if name := _FORMAT_NAME.match(text, token.end()):
                if selects and reads_at is None:
                    return None
                return Insert(text[: token.start()].decode(), name[1].decode(), text[name.end() :], reads_at)
    return None


def from_file(insert: Insert, path: str) -> str:
    """The INSERT with its data in a file."""
    head, settings, rest = re.split(r"(\bSETTINGS\b|\Z)", insert.statement, maxsplit=1, flags=re.IGNORECASE)
    return f"{head} FROM INFILE {quote(path)} {settings}{rest} FORMAT {insert.input_format}"


def returns_rows(text: bytes) -> bool:
    """Whether the statement has a result set, though it may be empty."""
    return _READ.match(text) is not None


def output_format(text: bytes, default: str) -> str:
    """The format that the answer is in: the statement's own FORMAT wins."""
    match = _LAST_FORMAT.search(text[-1000:])
    return match[1].decode() if match else default


def in_format(text: bytes, name: str) -> bytes:
    """The same statement, its answer in another format."""
    match = _LAST_FORMAT.search(text)
    return text[: match.start(1)] + name.encode() + text[match.end(1) :] if match else text


def quote(value: str) -> str:
    """A string literal of ClickHouse's SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def set_statement(settings: dict[str, str]) -> str:
    """One SET for all of a request's settings; '' for none. ValueError names a setting that is no identifier."""
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise ValueError(f"setting {name!r} is not a name: letters, digits and underscores")
    pairs = ", ".join(f"{name} = {quote(value)}" for name, value in settings.items())
    return f"SET {pairs}" if pairs else ""


def error_of(message: str) -> tuple[int, str]:
    """ClickHouse's error code (0 where there is none) and its message from the code on."""
    match = re.search(r"Code: (\d+)\..*", message, re.DOTALL)
    return (int(match[1]), match[0]) if match else (0, message)


def http_status(code: int) -> int:
    """The HTTP status that ClickHouse gives an error code."""
    if code in _NOT_FOUND:
        return 404
    return 400 if code in _BAD_REQUEST else _STATUS_BY_CODE.get(code, 500)


def empty_native_block(columns: list[tuple[str, str]]) -> bytes:
    """A Native block of no rows with (name, type) columns: how a client learns the columns of an empty answer."""
    texts = b"".join(varint(len(t)) + t for pair in columns for t in (pair[0].encode(), pair[1].encode()))
    return varint(len(columns)) + varint(0) + texts


def varint(number: int) -> bytes:
    """A number as ClickHouse's protocols write it: seven bits a byte, lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
