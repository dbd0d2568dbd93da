"""Messages of librdkafka as records."""

import logging
from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from services.topics import Record

log = logging.getLogger(__name__)


def polled(consumer: Consumer, max_messages: int, timeout_s: float) -> Iterator[Message]:
    """Up to `max_messages`, as soon as there is one, or none after `timeout_s`.

    One by one: `consume`, which gives many at once, waits until it has all or the time is over, and it loses messages
    of one partition when another's reading is just beginning. Nor is it faster: 5 us a message is the price of either.
    """
    message = consumer.poll(timeout_s)
    for _ in range(max_messages - 1):
        if message is None:
            return
        yield message
        message = consumer.poll(0)
    if message is not None:
        yield message


def records_of(messages: Iterable[Message]) -> Iterator[Record]:
    """The records among the messages, each as it comes; what passes is logged, a fatal error is a KafkaException."""
    return (_record(message) for message in messages if _usable(message))


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
    headers = dict(message.headers() or ())
    if None in headers.values():
        headers = {name: value or b"" for name, value in headers.items()}
    return Record(
        message.topic() or "",
        message.key() or b"",
        message.value() or b"",
        headers,
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
    )
