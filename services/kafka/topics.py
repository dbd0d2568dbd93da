"""The topics themselves."""

from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from services.errors import Overloaded
from services.kafka.config import MAX_MESSAGE_BYTES, client_config
from services.settings import KafkaSettings
from services.topics import DEAD_LETTERS, TOPICS


def create_topics(settings: KafkaSettings, partitions: int, replication: int = 1) -> None:
    """Create every topic that does not exist yet. Raises Overloaded if Kafka does not answer."""
    admin = AdminClient({**client_config(settings), **settings.kafka_options})
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
