"""A buried record's bytes for people: decoded as far as they can be, without what looks like a secret; pure."""

import json
import re
from collections.abc import Iterator
from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message

from services.topics import TOPICS

SHOWN_BYTES: Final = 256
_NAMES: Final = r"api[-_]?key|authorization|password|passwd|secret|token|cookie|credential"
SECRETS: Final = (
    # A name that speaks of a secret, and its value, unless that is a number: "prompt_tokens": 700 is none. What may
    # repeat is bounded: mebibytes without a space must not take hours.
    re.compile(rf"""(?i)((?:{_NAMES})[\w-]{{0,64}}["']?\s*[:=]\s*["']?)(?!\d+\b)((?:bearer |basic )?[^\s"',}}]+)"""),
    re.compile(r"(?i)(bearer\s+)([\w.~+/-]{8,}=*)"),
    re.compile(r"(://[^/\s:@]{0,256}:)([^/\s@]{1,256})(?=@)"),
    re.compile(r"(?<![a-z])((?:sk|pk|rk|ghp|gho|xox[abp])[-_])([A-Za-z0-9_-]{8,})"),
    re.compile(r"(AKIA)([A-Z0-9]{12,})"),
)


def readable(topic: str, value: bytes) -> str:
    """The record of a topic as JSON; where it is damaged what can be read of it, and its first bytes."""
    text = _as_json(value) or _as_message(topic, value)
    return masked(text if text else f"{_what_is_whole(topic, value)}\n{hexadecimal(value)}".strip())


def masked(text: str) -> str:
    """The text, with what looks like a key, a token or a password as asterisks."""
    for secret in SECRETS:
        text = secret.sub(lambda match: match[1] + "***", text)
    return text


def hexadecimal(value: bytes) -> str:
    """The first bytes, without secrets that stand among them as text."""
    shown = masked(value[:SHOWN_BYTES].decode("latin-1")).encode("latin-1")
    more = f" ... of {len(value)} bytes" if len(value) > SHOWN_BYTES else ""
    return "\n".join(shown[start : start + 32].hex(" ") for start in range(0, len(shown), 32)) + more


def _as_json(value: bytes) -> str:
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _as_message(topic: str, value: bytes) -> str:
    try:
        return _text(TOPICS[topic].message.FromString(value))
    except (KeyError, DecodeError):
        return ""


def _what_is_whole(topic: str, value: bytes) -> str:
    """The top-level fields that can be read, each by itself."""
    if topic not in TOPICS:
        return ""
    message = TOPICS[topic].message()
    for field in _fields(value):
        try:
            message.MergeFrom(TOPICS[topic].message.FromString(field))
        except DecodeError:
            continue
    return _text(message) if message.ByteSize() else ""


def _text(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=2, ensure_ascii=False)


def _fields(value: bytes) -> Iterator[bytes]:
    """The bytes of each top-level field of a protobuf message, up to the first that is not whole."""
    start = 0
    while start < len(value):
        tag, at = _varint(value, start)
        match tag & 7:
            case 0:
                _, end = _varint(value, at)
            case 1:
                end = at + 8
            case 2:
                length, at = _varint(value, at)
                end = at + length
            case 5:
                end = at + 4
            case _:  # A group, or no protobuf at all.
                return
        if tag >> 3 == 0 or end > len(value) or end <= start:
            return
        yield value[start:end]
        start = end


def _varint(value: bytes, start: int) -> tuple[int, int]:
    """The number at `start`, and where it ends; an end behind the bytes where it is not whole."""
    number = 0
    for place in range(10):
        if start + place >= len(value):
            return 0, len(value) + 1
        byte = value[start + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, start + place + 1
    return 0, len(value) + 1
