"""Kafka: a producer, a consumer, a follower. The only importer of confluent_kafka; its errors end here."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import uuid_utils
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as _Consumer
from confluent_kafka import Producer as _Producer
from confluent_kafka.admin import AdminClient, NewTopic

from services.errors import Overloaded
from services.settings import KafkaSettings
from services.topics import DEAD_LETTERS, TOPICS, Record

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
Acked = Callable[[str], None]
"""Called once per record when Kafka has it ('') or has refused it for good (why)."""


class Producer:
    """An idempotent producer: acks=all, in order, retried until `delivery.timeout.ms`. Not shared between processes."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = _Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "queue.buffering.max.messages": 100_000,
                "queue.buffering.max.kbytes": 256 * 1024,
                **settings.kafka_options,
            },
            logger=None,
        )

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        """Queue a record. `acked` runs inside `poll` or `flush`. Raises Overloaded when the queue is full."""

        def delivered(error: KafkaError | None, _message: Message) -> None:
            acked(str(error) if error else "")

        try:
            self._producer.produce(
                record.topic, record.value, record.key, on_delivery=delivered, headers=list(record.headers.items())
            )
        except BufferError as error:
            raise Overloaded("the producer's queue is full: Kafka is slow or away") from error

    def poll(self, timeout_s: float) -> int:
        """Run the callbacks of what was acknowledged; return how many ran."""
        return int(self._producer.poll(timeout_s))

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is acknowledged; return how many records still are not."""
        return int(self._producer.flush(timeout_s))


class Consumer:
    """A member of a consumer group. Offsets are committed by `commit` alone, after the work is done."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topics: Sequence[str],
        on_revoke: Callable[[], None] = lambda: None,
    ) -> None:
        self._consumer = _Consumer(consumer_config(settings, group))
        self._consumer.subscribe(list(topics), on_revoke=lambda _consumer, _partitions: on_revoke())

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, or none after `timeout_s`."""
        return _records(self._consumer.consume(max_records, timeout_s))

    def commit(self, records: Iterable[Record]) -> None:
        """Mark these records, and all before them on their partitions, as done. Returns when Kafka knows."""
        ends: dict[tuple[str, int], int] = {}
        for record in records:
            place = (record.topic, record.partition)
            ends[place] = max(ends.get(place, 0), record.offset + 1)
        if ends:
            offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def pause(self) -> None:
        """Fetch nothing more, but stay in the group as long as `poll` is called."""
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Fetch again where `pause` stopped."""
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group at once, so that another member takes over."""
        self._consumer.close()


class Follower:
    """Reads a whole topic from its beginning and then goes on, alone, without a group: for compacted topics."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._consumer = _Consumer(consumer_config(settings, f"follower-{uuid_utils.uuid7()}"))
        self._topic = topic
        self._ends: dict[int, int] = {}

    def start(self, timeout_s: float) -> None:
        """Find the topic's partitions. Raises Overloaded if Kafka does not answer or the topic is not there."""
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
            places = [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in metadata.partitions]
            for place in places:
                self._ends[place.partition] = self._consumer.get_watermark_offsets(place, timeout=timeout_s)[1]
        except KafkaException as error:
            raise Overloaded(f"Kafka does not answer: {error}") from error
        if not places:
            raise Overloaded(f"topic {self._topic} does not exist yet")
        self._consumer.assign(places)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, or none after `timeout_s`."""
        return _records(self._consumer.consume(max_records, timeout_s))

    def caught_up(self) -> bool:
        """Whether everything that was there at `start` has been read."""
        positions = self._consumer.position([TopicPartition(self._topic, partition) for partition in self._ends])
        return all(
            place.offset >= self._ends[place.partition] or not self._ends[place.partition] for place in positions
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def consumer_config(settings: KafkaSettings, group: str) -> dict[str, Any]:
    """librdkafka's properties for a member of `group`."""
    # 6 s and 1 s: a first assignment takes 23 s with librdkafka's defaults on brokers that wait for a session to end.
    timeouts = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "group.id": group,
        "group.protocol": settings.kafka_group_protocol,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
        **(timeouts if settings.kafka_group_protocol == "classic" else {}),
        **settings.kafka_options,
    }


def create_topics(settings: KafkaSettings, partitions: int, replication: int = 1) -> None:
    """Create every topic that does not exist yet. Raises Overloaded if Kafka does not answer."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_options})
    compacted = {topic.name for topic in TOPICS.values() if topic.compacted}
    try:
        there = admin.list_topics(timeout=10).topics
        wanted = [
            NewTopic(name, partitions, replication, config={"cleanup.policy": "compact"} if name in compacted else {})
            for name in (*TOPICS, DEAD_LETTERS)
            if name not in there
        ]
        for future in admin.create_topics(wanted).values() if wanted else ():
            future.result(timeout=30)
    except KafkaException as error:
        raise Overloaded(f"Kafka does not answer: {error}") from error


def _records(messages: Iterable[Message]) -> list[Record]:
    return [_record(message) for message in messages if _usable(message)]


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    return False  # librdkafka reports and mends what is passing: a broker away, a topic not there yet.


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
