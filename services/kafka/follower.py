"""The lone reader of a topic."""

import uuid_utils
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Consumer as _Consumer

from services.errors import Overloaded
from services.kafka.config import consumer_config
from services.kafka.records import records_of
from services.settings import KafkaSettings
from services.topics import Record


class Follower:
    """Reads a whole topic, or what comes from now on, alone and without a group: what is followed by everybody."""

    def __init__(self, settings: KafkaSettings, topic: str, from_end: bool = False) -> None:
        config = consumer_config(settings, f"follower-{uuid_utils.uuid7()}")
        self._start = OFFSET_END if from_end else OFFSET_BEGINNING
        self._consumer = _Consumer({**config, "enable.partition.eof": True})
        self._topic = topic
        self._unread: set[int] = set()

    def start(self, timeout_s: float) -> None:
        """Find the topic's partitions. Raises Overloaded if Kafka does not answer or the topic is not there."""
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
        except KafkaException as error:
            raise Overloaded(f"Kafka does not answer: {error}") from error
        if not metadata.partitions:
            raise Overloaded(f"topic {self._topic} does not exist yet")
        self._unread = set(metadata.partitions)
        self._consumer.assign([TopicPartition(self._topic, number, self._start) for number in self._unread])

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, as soon as there is one, or none after `timeout_s`."""
        first = self._consumer.poll(timeout_s)  # `consume` alone waits until it has all or the time is over.
        messages = [first, *(self._consumer.consume(max_records - 1, 0) if max_records > 1 else ())] if first else []
        for message in messages:
            if (error := message.error()) and error.code() == KafkaError._PARTITION_EOF:
                self._unread.discard(message.partition())
        return records_of(messages)

    def caught_up(self) -> bool:
        """Whether the end of every partition has been seen once since `start`."""
        return not self._unread

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()
