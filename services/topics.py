"""The topics: their names, message types and keys; bytes to messages and back.

Values are protobuf with the header `content-type: application/protobuf; type=tutelage.v1.<Message>`. Producers who
have only logs may send topic `requests` JSON in the OpenAI request shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent

CONTENT_TYPE: Final = "content-type"
SOURCE: Final = "source"
SEQUENCE: Final = "sequence"
DEAD_LETTERS: Final = "dead-letters"
FORGOTTEN: Final = "forgotten"
"""Keys of the sampler's memory that an erasure covers, each a record without a value."""
LEFT_BYTES: Final = "dead-left-bytes"
"""On a dead letter that was too large for its topic: so many bytes are still where it came from."""
LEFT_DIGEST: Final = "dead-left-digest"
DEAD_BY: Final = "dead-by"
CUT_FROM: Final = "tutelage.cut_from_bytes"
"""In a request's metadata: its exchange had this many bytes, too many for Kafka, and long texts are shortened."""


@dataclass(frozen=True)
class Topic:
    """A topic: its messages' type and how one's key and further headers are found.

    `compacted` keeps the last value of each key.
    """

    name: str
    message: type[Message]
    key: Callable[[Any], str]
    compacted: bool = False
    headers: Callable[[Any], Mapping[str, bytes]] = lambda _message: {}


def _exchange_key(exchange: events.Exchange) -> str:
    return exchange.request.group_key or exchange.id


def _exchange_headers(exchange: events.Exchange) -> Mapping[str, bytes]:
    """Its place in the ledger, told also where the bytes can't be read any more: a dead letter has a number."""
    return {SOURCE: exchange.source.encode(), SEQUENCE: b"%d" % exchange.sequence} if exchange.sequence else {}


REQUESTS = Topic("requests", inference.Request, lambda request: request.group_key or request.request_id)
EXCHANGES = Topic("exchanges", events.Exchange, _exchange_key, headers=_exchange_headers)
FEEDBACK = Topic("feedback", events.FeedbackRecord, lambda record: record.group_key or record.exchange_id)
CANDIDATES = Topic("candidates", events.Candidate, lambda candidate: candidate.request.group_key or candidate.id)
RUNS = Topic("runs", events.Run, lambda run: run.id, compacted=True)
PROMOTIONS = Topic("promotions", events.Promotion, lambda promotion: promotion.task, compacted=True)
SHADOWS = Topic("shadows", events.ShadowPair, lambda pair: pair.group_key or pair.id)
SOURCES = Topic("sources", events.SourceState, lambda state: state.source, compacted=True)
KEYS = Topic("keys", events.ApiKey, lambda key: key.id, compacted=True)
KEY_USAGE = Topic(
    "key-usage", events.KeyUsage, lambda usage: f"{usage.key_id}/{usage.source}/{usage.day}", compacted=True
)

TOPICS: Final[Mapping[str, Topic]] = {
    topic.name: topic
    for topic in (REQUESTS, EXCHANGES, FEEDBACK, CANDIDATES, RUNS, PROMOTIONS, SHADOWS, SOURCES, KEYS, KEY_USAGE)
}


@dataclass(frozen=True)
class Record:
    """One Kafka record, to produce or consumed. `partition`, `offset` and time are -1 before it is on a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    partition: int = -1
    offset: int = -1
    timestamp_ms: int = -1
    """When it was produced: milliseconds since 1970, UTC."""


def encode(topic: Topic, message: Message) -> Record:
    """The record that carries `message` on `topic`."""
    headers = {CONTENT_TYPE: _content_type(message.DESCRIPTOR.full_name), **topic.headers(message)}
    return Record(topic.name, topic.key(message).encode(), message.SerializeToString(), headers)


@lru_cache(maxsize=64)
def _content_type(message: str) -> bytes:
    return f"application/protobuf; type={message}".encode()


def decode(record: Record) -> Any:
    """The message of a record's topic. Raises BadEvent if the bytes or the declared type are not that."""
    message = _message(record.topic, record.headers.get(CONTENT_TYPE, b""))
    try:
        return message.FromString(record.value)
    except DecodeError as error:
        raise BadEvent(f"not a {message.DESCRIPTOR.full_name}: {_what_is_wrong(record)}") from error


def _what_is_wrong(record: Record) -> str:
    """Of bytes that protobuf can't read; it says no more itself."""
    told = f"protobuf can't read its {len(record.value):,} bytes"
    if record.value.lstrip()[:1] not in {b"{", b"["}:
        return told
    header = f"; with the header {CONTENT_TYPE}: application/json they would be read as that"
    return f"{told}, which look like JSON{header if record.topic == REQUESTS.name else ''}"


@lru_cache(maxsize=1024)
def _message(topic: str, content_type: bytes) -> type[Message]:
    """The message type of a topic, if the declared type is that or none."""
    message = TOPICS[topic].message
    expected = f"application/protobuf; type={message.DESCRIPTOR.full_name}"
    declared = content_type.decode("ascii", "replace")
    if declared and declared != expected:
        raise BadEvent(f"content-type is {declared[:100]!r}; topic {topic} takes {expected}")
    return message


def name(enum: Any, number: int) -> str:
    """What a protobuf enum calls a number; the number itself where only a newer version knows it."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def position(record: Record) -> tuple[str, int] | None:
    """An exchange's source and sequence, from the headers, else from the bytes; None where neither tells."""
    try:
        if SEQUENCE in record.headers:
            return record.headers[SOURCE].decode(), int(record.headers[SEQUENCE])
        exchange = events.Exchange.FromString(record.value)
    except (KeyError, ValueError, DecodeError):
        return None
    return (exchange.source, exchange.sequence) if exchange.sequence else None


HOLLOW: Final = frozenset({"dead-topic", "dead-partition", "dead-offset", "dead-reason", DEAD_BY, SOURCE, SEQUENCE})


def dead_letter(record: Record, reason: str, by: str) -> Record:
    """The same bytes on `dead-letters`, with where they came from and why they are there.

    `by`: the service that can't handle them. Each that reads a topic says so for itself, of the same record, too.
    """
    origin = {
        DEAD_BY: by.encode(),
        "dead-topic": record.topic.encode(),
        "dead-partition": str(record.partition).encode(),
        "dead-offset": str(record.offset).encode(),
        "dead-reason": reason[:1000].encode(),
    }
    return Record(DEAD_LETTERS, record.key, record.value, {**record.headers, **origin})


def hollow(letter: Record) -> Record:
    """What is buried of a dead letter that Kafka refuses for its size: where the record lies, and its ledger's place.

    Key, headers and bytes are read from there when it is looked at or sent back, for as long as that topic keeps them.
    """
    kept = {name: value for name, value in letter.headers.items() if name in HOLLOW}
    left = {LEFT_BYTES: b"%d" % len(letter.value), LEFT_DIGEST: digest(letter.value).encode()}
    return Record(DEAD_LETTERS, b"", b"", {**kept, **left})


def digest(value: bytes) -> str:
    """By which a record's bytes are known where they are not."""
    return blake2b(value, digest_size=16).hexdigest()
