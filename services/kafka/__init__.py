"""Kafka: a producer, a consumer, a follower. The only importer of confluent_kafka; its errors end here."""

from services.kafka.config import MAX_MESSAGE_BYTES
from services.kafka.consumer import Consumer
from services.kafka.follower import Follower
from services.kafka.producer import Acked, Producer
from services.kafka.topics import create_topics

__all__ = ["MAX_MESSAGE_BYTES", "Acked", "Consumer", "Follower", "Producer", "create_topics"]
