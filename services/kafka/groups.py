"""How far a consumer group has come."""

from collections.abc import Iterable
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer as _Consumer
from confluent_kafka import KafkaException, TopicPartition

from services.kafka.config import consumer_config, no_answer
from services.kafka.follower import Follower, everything
from services.settings import KafkaSettings

ANSWER_S: Final = 5.0


def has_read(settings: KafkaSettings, group: str, topics: Iterable[str]) -> bool:
    """Whether the group has committed all that the topics hold. Raises Overloaded if Kafka does not answer.

    Looks behind what was committed instead of asking where the topics end: Tansu tells the number of batches.
    """
    return all(_nothing_behind(settings, topic, _committed(settings, group, topic)) for topic in topics)


def _committed(settings: KafkaSettings, group: str, topic: str) -> dict[int, int]:
    with closing(_Consumer(consumer_config(settings, group))) as consumer:  # Asks only; it never joins the group.
        try:
            numbers = consumer.list_topics(topic, ANSWER_S).topics[topic].partitions
            places = consumer.committed([TopicPartition(topic, number) for number in numbers], ANSWER_S)
        except KafkaException as error:
            raise no_answer(settings, error) from error
    return {place.partition: max(0, int(place.offset)) for place in places}  # Below 0: nothing is committed.


def _nothing_behind(settings: KafkaSettings, topic: str, offsets: dict[int, int]) -> bool:
    with closing(Follower(settings, topic)) as follower:
        follower.start(ANSWER_S, offsets)
        return next(everything(follower, at_once=1), None) is None
