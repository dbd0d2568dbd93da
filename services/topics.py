"""The topics: their names, message types and keys; bytes to messages and back.

Values are protobuf with the header `content-type: application/protobuf; type=tutelage.v1.<Message>`. Producers who
have only logs may send topic `requests` JSON in the OpenAI request shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent

CONTENT_TYPE: Final = "content-type"
DEAD_LETTERS: Final = "dead-letters"


@dataclass(frozen=True)
class Topic:
    """A topic: its messages' type and how one's key is found. `compacted` keeps the last value of each key."""

    name: str
    message: type[Message]
    key: Callable[[Any], str]
    compacted: bool = False


def _exchange_key(exchange: events.Exchange) -> str:
    return exchange.request.group_key or exchange.id


REQUESTS = Topic("requests", inference.Request, lambda request: request.group_key or request.request_id)
EXCHANGES = Topic("exchanges", events.Exchange, _exchange_key)
FEEDBACK = Topic("feedback", events.FeedbackRecord, lambda record: record.group_key or record.exchange_id)
CANDIDATES = Topic("candidates", events.Candidate, lambda candidate: candidate.request.group_key or candidate.id)
RUNS = Topic("runs", events.Run, lambda run: run.id, compacted=True)
PROMOTIONS = Topic("promotions", events.Promotion, lambda promotion: promotion.task, compacted=True)

TOPICS: Final[Mapping[str, Topic]] = {
    topic.name: topic for topic in (REQUESTS, EXCHANGES, FEEDBACK, CANDIDATES, RUNS, PROMOTIONS)
}


@dataclass(frozen=True)
class Record:
    """One Kafka record, to produce or consumed. `partition` and `offset` are -1 before it is on a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    partition: int = -1
    offset: int = -1


def encode(topic: Topic, message: Message) -> Record:
    """The record that carries `message` on `topic`."""
    content_type = f"application/protobuf; type={message.DESCRIPTOR.full_name}"
    return Record(
        topic.name, topic.key(message).encode(), message.SerializeToString(), {CONTENT_TYPE: content_type.encode()}
    )


def decode(record: Record) -> Any:
    """The message of a record's topic. Raises BadEvent if the bytes or the declared type are not that."""
    topic = TOPICS[record.topic]
    declared = record.headers.get(CONTENT_TYPE, b"").decode("ascii", "replace")
    expected = str(topic.message.DESCRIPTOR.full_name)
    if declared and declared != f"application/protobuf; type={expected}":
        raise BadEvent(
            f"content-type is {declared[:100]!r}; topic {topic.name} takes application/protobuf; type={expected}"
        )
    try:
        return topic.message.FromString(record.value)
    except DecodeError as error:
        raise BadEvent(f"not a {expected}: {error}") from error


def dead_letter(record: Record, reason: str) -> Record:
    """The same bytes on `dead-letters`, with where they came from and why they are there."""
    origin = {
        "dead-topic": record.topic.encode(),
        "dead-partition": str(record.partition).encode(),
        "dead-offset": str(record.offset).encode(),
        "dead-reason": reason[:1000].encode(),
    }
    return Record(DEAD_LETTERS, record.key, record.value, {**record.headers, **origin})
