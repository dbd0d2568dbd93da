"""Messages of librdkafka as records."""

import logging
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message

from services.topics import Record

log = logging.getLogger(__name__)


def records_of(messages: Iterable[Message]) -> list[Record]:
    """The records among the messages; what passes is logged, a fatal error is a KafkaException."""
    return [_record(message) for message in messages if _usable(message)]


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    if error.code() != KafkaError._PARTITION_EOF:  # The rest passes: a broker away, a topic not there yet.
        log.warning("Kafka: %s", error)
    return False


def _record(message: Message) -> Record:
    headers = {name: value or b"" for name, value in message.headers() or ()}
    return Record(
        str(message.topic()),
        message.key() or b"",
        message.value() or b"",
        headers,
        int(message.partition() or 0),
        int(message.offset() or 0),
    )
