"""librdkafka's properties, and why each is set."""

import logging
import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from services.errors import Overloaded
from services.settings import KafkaSettings

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024

log = logging.getLogger(__name__)


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """librdkafka's properties for every client."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "reconnect.backoff.max.ms": 1000,  # Ten seconds by default: too long behind a restarted broker.
        "log_level": 2,  # Each connection refused is a line otherwise; `error_cb` says it once a minute.
        "error_cb": Complaints(),
    }


def producer_config(settings: KafkaSettings, linger_ms: int = 5) -> dict[str, Any]:
    """librdkafka's properties for an idempotent producer, which waits `linger_ms` for a batch to fill."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "delivery.timeout.ms": 0,  # For ever: giving up and sending anew would lose the order.
        "compression.type": "lz4",  # Costs nothing; zstd is a quarter smaller for half as much time again.
        "linger.ms": linger_ms,
        "partitioner": "murmur2_random",  # As Java's clients and aiokafka do: what shares a key shares a partition.
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 256 * 1024,
        **settings.kafka_options,
    }


def consumer_config(settings: KafkaSettings, group: str) -> dict[str, Any]:
    """librdkafka's properties for a member of `group`."""
    # 6 s and 1 s: a first assignment takes 23 s with librdkafka's defaults on brokers that wait for a session to end.
    timeouts = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    return {
        **client_config(settings),
        "group.id": group,
        "group.protocol": settings.kafka_group_protocol,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "topic.metadata.refresh.interval.ms": 10_000,  # A topic made after us is found in seconds, not five minutes.
        "fetch.wait.max.ms": 50,
        **(timeouts if settings.kafka_group_protocol == "classic" else {}),
        **settings.kafka_options,
    }


def no_answer(settings: KafkaSettings, error: KafkaException) -> Overloaded:
    """What to raise where Kafka, asked for something, gave an error instead: who was asked, and what came."""
    why = error.args[0].str() if isinstance(error.args[0], KafkaError) else str(error)
    return Overloaded(f"Kafka at {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS) does not answer: {why}")


class Complaints:
    """Logs what librdkafka complains of, each kind once a minute at most: it says so at every attempt."""

    EVERY_S: Final = 60.0

    def __init__(self) -> None:
        self._said_s: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s.get(error.name(), -self.EVERY_S) >= self.EVERY_S:
            self._said_s[error.name()] = now_s
            log.warning("Kafka: %s", error)
