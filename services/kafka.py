"""Kafka: a producer, a consumer, a follower. The only importer of confluent_kafka; its errors end here."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import uuid_utils
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as _Consumer
from confluent_kafka import Producer as _Producer
from confluent_kafka.admin import AdminClient, NewTopic

from services.errors import Overloaded
from services.settings import KafkaSettings
from services.topics import DEAD_LETTERS, TOPICS, Record

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
Acked = Callable[[str], None]
"""Called once per record when Kafka has it ('') or has refused it for good (why)."""


log = logging.getLogger(__name__)

# What Kafka says of the record itself; every other error is the outside's and passes.
REFUSED: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
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


class Producer:
    """An idempotent producer: acks=all, in order, for as long as an outage lasts. Not shared between processes.

    A fatal error of the client (another producer fenced it off, say) is a KafkaException: the process must restart.
    """

    RESEND_AFTER_S: Final = 1.0

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = _Producer(producer_config(settings))
        self._again: list[tuple[Record, Acked]] = []
        self._again_at_s = 0.0

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        """Queue a record. Raises Overloaded when the queue is full.

        `acked` runs inside `poll` or `flush`, or at once for a record that is too large.
        """
        try:
            self._produce(record, acked)
        except BufferError as error:
            raise Overloaded("the producer's queue is full: Kafka is slow or away") from error
        except KafkaException as error:
            if error.args[0].code() not in REFUSED:
                raise
            acked(str(error.args[0]))

    def _produce(self, record: Record, acked: Acked) -> None:
        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is None or error.code() in REFUSED:
                acked(str(error) if error else "")
            else:  # A topic that is not there yet, a right that is not given yet.
                self._again_at_s = time.monotonic() + self.RESEND_AFTER_S
                self._again.append((record, acked))

        self._producer.produce(
            record.topic, record.value, record.key, on_delivery=delivered, headers=list(record.headers.items())
        )

    def _send_again(self) -> None:
        if self._again and time.monotonic() >= self._again_at_s:
            again, self._again = self._again, []
            for record, acked in again:
                try:
                    self._produce(record, acked)
                except BufferError:
                    self._again.append((record, acked))

    def poll(self, timeout_s: float) -> int:
        """Run the callbacks of what was acknowledged; return how many ran."""
        self._send_again()
        return int(self._producer.poll(timeout_s))

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is acknowledged; return how many records still are not."""
        self._send_again()
        return int(self._producer.flush(timeout_s)) + len(self._again)


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
        self._revoked: set[tuple[str, int]] = set()
        self._consumer = _Consumer(consumer_config(settings, group))
        self._consumer.subscribe(list(topics), on_revoke=self._revoke)

    def _revoke(self, _consumer: Any, places: list[TopicPartition]) -> None:
        self._revoked |= {(place.topic, place.partition) for place in places}
        self._on_revoke()

    def owned(self) -> set[tuple[str, int]]:
        """The (topic, partition) pairs that this member reads now."""
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` records, as soon as there is one, or none after `timeout_s`."""
        first = _records([message] if (message := self._consumer.poll(timeout_s)) else [])
        self._revoked.clear()
        rest = _records(self._consumer.consume(max_records - 1, 0)) if max_records > 1 else []
        # A partition revoked between the two is read again from its last commit, by us or by another member.
        return [record for record in first if (record.topic, record.partition) not in self._revoked] + rest

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
        return _records(messages)

    def caught_up(self) -> bool:
        """Whether the end of every partition has been seen once since `start`."""
        return not self._unread

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def producer_config(settings: KafkaSettings) -> dict[str, Any]:
    """librdkafka's properties for an idempotent producer."""
    return {
        **_client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "delivery.timeout.ms": 0,  # For ever: giving up and sending anew would lose the order.
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 256 * 1024,
        **settings.kafka_options,
    }


def _client_config(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "reconnect.backoff.max.ms": 1000,  # Ten seconds by default: too long behind a restarted broker.
        "log_level": 2,  # Each connection refused is a line otherwise; `error_cb` says it once a minute.
        "error_cb": _Complaints(),
    }


class _Complaints:
    """Logs what librdkafka complains of, each kind once a minute at most: it says so at every attempt."""

    EVERY_S: Final = 60.0

    def __init__(self) -> None:
        self._said_s: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s.get(error.name(), -self.EVERY_S) >= self.EVERY_S:
            self._said_s[error.name()] = now_s
            log.warning("Kafka: %s", error)


def consumer_config(settings: KafkaSettings, group: str) -> dict[str, Any]:
    """librdkafka's properties for a member of `group`."""
    # 6 s and 1 s: a first assignment takes 23 s with librdkafka's defaults on brokers that wait for a session to end.
    timeouts = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    return {
        **_client_config(settings),
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
    admin = AdminClient({**_client_config(settings), **settings.kafka_options})
    try:
        there = admin.list_topics(timeout=10).topics
        wanted = [
            NewTopic(name, partitions, replication, config=_topic_config(name))
            for name in (*TOPICS, DEAD_LETTERS)
            if name not in there
        ]
        for future in admin.create_topics(wanted).values() if wanted else ():
            _await_created(future)
    except KafkaException as error:
        raise Overloaded(f"Kafka does not answer: {error}") from error


def _topic_config(name: str) -> dict[str, str]:
    largest = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    return {**largest, "cleanup.policy": "compact"} if name in TOPICS and TOPICS[name].compacted else largest


def _await_created(future: Future[None]) -> None:
    try:
        future.result(timeout=30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # Another service was quicker.
            raise


def _records(messages: Iterable[Message]) -> list[Record]:
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
