"""A record that fits its topic with hardly a byte to spare: as a dead letter, with its headers, it does not."""

from collections.abc import Callable

from services.kafka import MAX_MESSAGE_BYTES, Producer
from services.settings import KafkaSettings
from services.topics import Record

STEP_BYTES = 16  # Less than the header that a replay adds.


def put_largest(settings: KafkaSettings, made: Callable[[int], Record]) -> Record:
    """Produce the largest of the records of so many bytes of text that Kafka's client takes, and return it."""
    producer = Producer(settings)
    for size in range(MAX_MESSAGE_BYTES, 0, -STEP_BYTES):
        refused: list[str] = []
        producer.send(record := made(size), refused.append)
        if not refused:
            break
    assert producer.flush(60) == 0
    return record
