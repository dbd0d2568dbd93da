"""The member of a consumer group."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer as _Consumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from services.errors import Overloaded
from services.kafka.config import consumer_config
from services.kafka.records import polled, records_of
from services.settings import KafkaSettings
from services.topics import Record

# The partitions have gone to another member, who reads again what was not committed.
LOST: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
    }
)


log = logging.getLogger(__name__)


class Consumer:
    """A member of a consumer group. Offsets are committed by `commit` alone, after the work is done."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topics: Sequence[str],
        on_revoke: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_revoke = on_revoke
        self._read: list[Record] = []
        self._held: set[tuple[str, int]] = set()
        self._paused = False
        self._consumer = _Consumer(consumer_config(settings, group))
        self._consumer.subscribe(list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose)

    def _assign(self, _consumer: Any, places: list[TopicPartition]) -> None:
        if places:
            log.info("partitions have come: %s", _named(places))

    def _lose(self, consumer: Any, places: list[TopicPartition]) -> None:
        log.warning("Kafka took us for dead; what was not committed is read again: %s", _named(places))
        self._revoke(consumer, places)

    def _revoke(self, _consumer: Any, places: list[TopicPartition]) -> None:
        if places:
            log.info("partitions have gone: %s", _named(places))
        gone = {(place.topic, place.partition) for place in places}
        # Read in this very poll: whoever has the partition next reads it again from its last commit.
        self._read = [record for record in self._read if (record.topic, record.partition) not in gone]
        self._on_revoke()

    def owned(self) -> set[tuple[str, int]]:
        """The (topic, partition) pairs that this member reads now."""
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, as soon as there is one, or none after `timeout_s`."""
        self._read = []
        for record in records_of(polled(self._consumer, max_records, timeout_s)):
            self._read.append(record)  # Not another list: `_revoke` comes in between.
        self._release()
        return self._read

    def commit(self, records: Iterable[Record]) -> None:
        """Mark these records, and all before them on their partitions, as done. Returns when Kafka knows.

        Raises Overloaded if Kafka does not answer. Partitions that went to another member meanwhile are left to it.
        """
        ends: dict[tuple[str, int], int] = {}
        for record in records:
            place = (record.topic, record.partition)
            ends[place] = max(ends.get(place, 0), record.offset + 1)
        if ends:
            offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
            try:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                if error.args[0].code() not in LOST:
                    raise Overloaded(f"Kafka does not take the commit: {error}") from error
                log.warning("a commit is left to the member that has the partitions now: %s", error)

    def pause(self) -> None:
        """Fetch nothing more, but stay in the group as long as `poll` is called."""
        self._paused = True
        self._held |= self.owned()
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Fetch again where `pause` stopped; partitions that a rebalance has away just now, when they come back."""
        self._paused = False
        self._release()

    def _release(self) -> None:
        """librdkafka keeps a partition paused that went and came back, whoever resumed the others meanwhile."""
        if self._held and not self._paused and (back := self._held & self.owned()):
            self._consumer.resume([TopicPartition(topic, partition) for topic, partition in back])
            self._held -= back

    def close(self) -> None:
        """Leave the group at once, so that another member takes over."""
        self._consumer.close()


def _named(places: Iterable[TopicPartition]) -> str:
    return ", ".join(sorted(f"{place.topic}/{place.partition}" for place in places))
