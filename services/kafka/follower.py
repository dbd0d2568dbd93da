"""The lone reader of a topic."""

import time
from collections.abc import Iterator, Mapping
from typing import Final

import uuid_utils
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as _Consumer

from services.errors import Overloaded
from services.kafka.config import consumer_config, no_answer
from services.kafka.records import polled, records_of
from services.settings import KafkaSettings
from services.topics import Record

READ_RECORDS: Final = 1_000
READ_S: Final = 0.5
PATIENCE_S: Final = 20.0


class Follower:
    """Reads a whole topic, or what comes from now on, alone and without a group: what is followed by everybody."""

    def __init__(self, settings: KafkaSettings, topic: str, from_end: bool = False) -> None:
        config = consumer_config(settings, f"follower-{uuid_utils.uuid7()}")
        self._settings = settings
        self._from_end = from_end
        self._since_ms = 0.0
        self._consumer = _Consumer({**config, "enable.partition.eof": True})
        self._topic = topic
        self._unread: set[int] = set()

    def start(self, timeout_s: float, offsets: Mapping[int, int] | None = None) -> None:
        """Find the topic's partitions, or read only those of `offsets`, each from its offset.

        Raises Overloaded if Kafka does not answer or the topic, or such a partition of it, is not there.
        """
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
        except KafkaException as error:
            raise no_answer(self._settings, error) from error
        if not metadata.partitions:
            raise Overloaded(f"topic {self._topic} does not exist yet")
        start = OFFSET_END if self._from_end else OFFSET_BEGINNING
        starts = dict.fromkeys(metadata.partitions, start) if offsets is None else offsets
        if absent := set(starts) - set(metadata.partitions):
            raise Overloaded(f"topic {self._topic} has no partition {min(absent)}")
        self._unread = set(starts)
        self._since_ms = time.time() * 1000 if self._from_end else 0.0
        self._consumer.assign([TopicPartition(self._topic, number, start) for number, start in starts.items()])

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, as soon as there is one, or none after `timeout_s`."""
        messages = list(polled(self._consumer, max_records, timeout_s))
        kept = []
        for message in messages:
            if (error := message.error()) and error.code() == KafkaError._PARTITION_EOF:
                self._unread.discard(message.partition())
            elif not self._is_old(message):
                kept.append(message)
        return list(records_of(kept))

    def _is_old(self, message: Message) -> bool:
        """Whether it was there before a start from the end: Tansu gives the whole last batch once more."""
        return message.partition() in self._unread and 0 <= message.timestamp()[1] < self._since_ms

    def caught_up(self) -> bool:
        """Whether the end of every partition has been seen once since `start`."""
        return not self._unread

    def first_kept(self, timeout_s: float) -> dict[int, int]:
        """Of each partition that is read, the first offset that Kafka still keeps.

        Raises Overloaded if Kafka does not answer.
        """
        try:
            return {
                place.partition: int(self._consumer.get_watermark_offsets(place, timeout_s)[0])
                for place in self._consumer.assignment()
            }
        except KafkaException as error:
            raise no_answer(self._settings, error) from error

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def everything(follower: Follower, patience_s: float = PATIENCE_S, at_once: int = READ_RECORDS) -> Iterator[Record]:
    """What a started follower's topic holds, from where it was started to its end of now.

    Raises Overloaded if Kafka gives nothing for `patience_s` before the end has been seen.
    """
    heard_s = time.monotonic()
    while True:
        had_all = follower.caught_up()
        if records := follower.poll(at_once, READ_S):
            heard_s = time.monotonic()
            yield from records
        elif had_all:
            return
        elif time.monotonic() - heard_s > patience_s:
            raise Overloaded(f"Kafka gives nothing for {patience_s:.0f} s, and there should be more")
