"""Kafka: a producer, a consumer, a follower. The only importer of confluent_kafka; its errors end here."""

from services.kafka.config import MAX_MESSAGE_BYTES
from services.kafka.consumer import Consumer
from services.kafka.follower import Follower, everything
from services.kafka.groups import has_read
from services.kafka.producer import Acked, Producer
from services.kafka.tombstones import bury
from services.kafka.topics import Keeping, create_topics, keeping

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Acked",
    "Consumer",
    "Follower",
    "Keeping",
    "Producer",
    "bury",
    "create_topics",
    "everything",
    "has_read",
    "keeping",
]
