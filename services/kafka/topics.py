"""The topics themselves."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from services.kafka.config import MAX_MESSAGE_BYTES, client_config, no_answer
from services.settings import KafkaSettings
from services.topics import DEAD_LETTERS, FORGOTTEN, TOPICS

ANSWER_S: Final = 10


def create_topics(settings: KafkaSettings, partitions: int, replication: int = 1) -> None:
    """Create every topic that does not exist yet. Raises Overloaded if Kafka does not answer."""
    admin = AdminClient({**client_config(settings), **settings.kafka_options})
    try:
        there = admin.list_topics(timeout=ANSWER_S).topics
        wanted = [
            NewTopic(name, partitions, replication, config=topic_config(name, replication))
            for name in (*TOPICS, DEAD_LETTERS, FORGOTTEN)
            if name not in there
        ]
        for future in admin.create_topics(wanted).values() if wanted else ():
            _await_created(future)
    except KafkaException as error:
        raise no_answer(settings, error) from error


def topic_config(name: str, replication: int) -> dict[str, str]:
    """How a topic is made. Of three copies two must be in sync: a lone one would acknowledge what it may lose."""
    config = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    if replication > 2:
        config["min.insync.replicas"] = str(replication // 2 + 1)
    if name in TOPICS and TOPICS[name].compacted:
        config["cleanup.policy"] = "compact"
    return config


def _await_created(future: Future[None]) -> None:
    try:
        future.result(timeout=30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # Another service was quicker.
            raise


@dataclass(frozen=True)
class Keeping:
    """How long a topic keeps its records; None where the broker does not tell. -1 ms is for ever."""

    topic: str
    compacted: bool
    deleted: bool
    retention_ms: int | None
    segment_ms: int | None


def keeping(settings: KafkaSettings, wanted: Callable[[str], bool]) -> list[Keeping]:
    """How long the topics that are `wanted` by name keep records. Raises Overloaded if Kafka does not answer."""
    admin = AdminClient({**client_config(settings), **settings.kafka_options})
    try:
        names = sorted(name for name in admin.list_topics(timeout=ANSWER_S).topics if wanted(name))
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        futures = admin.describe_configs(resources, request_timeout=ANSWER_S) if resources else {}
        told = {resource.name: future.result(timeout=ANSWER_S) for resource, future in futures.items()}
    except KafkaException as error:
        raise no_answer(settings, error) from error
    return [_keeping(name, {key: entry.value for key, entry in told[name].items()}) for name in names]


def _keeping(name: str, config: dict[str, str | None]) -> Keeping:
    policy = config.get("cleanup.policy") or ""
    return Keeping(name, "compact" in policy, "delete" in policy, _ms(config, "retention"), _ms(config, "segment"))


def _ms(config: dict[str, str | None], what: str) -> int | None:
    value = config.get(f"{what}.ms")
    return int(value) if value else None
