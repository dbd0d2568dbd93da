"""Takes keys out of compacted topics: a record without a value makes Kafka, and who reads it, forget the key."""

from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as _Producer

from services.errors import Overloaded
from services.kafka.config import no_answer, producer_config
from services.settings import KafkaSettings

AT_ONCE: Final = 50_000  # Half of the producer's queue.
FLUSH_S: Final = 30.0
Key = tuple[str, int]
"""A key, and the partition on which it lies."""


def bury(settings: KafkaSettings, wanted: Callable[[str], bool], keys: Sequence[Key]) -> int:
    """Write a tombstone for each key to every topic that is `wanted` by name; return how many were written.

    Partitions that a topic does not have are passed over. Raises Overloaded if Kafka does not take them all.
    """
    producer = _Producer(producer_config(settings))
    try:
        known = producer.list_topics(timeout=FLUSH_S).topics
    except KafkaException as error:
        raise no_answer(settings, error) from error
    found = {name: set(topic.partitions) for name, topic in known.items() if wanted(name)}
    places = [(name, key, partition) for name, own in found.items() for key, partition in keys if partition in own]
    for start in range(0, len(places), AT_ONCE):
        _write(producer, places[start : start + AT_ONCE])
    return len(places)


def _write(producer: _Producer, places: Sequence[tuple[str, str, int]]) -> None:
    failed: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        failed.extend([str(error)] if error else [])

    for topic, key, partition in places:
        producer.produce(topic, None, key.encode(), partition=partition, on_delivery=delivered)
    left = producer.flush(FLUSH_S)
    if left or failed:
        raise Overloaded(f"Kafka has not taken {left + len(failed)} tombstones: {failed[:1] or 'no answer'}")
