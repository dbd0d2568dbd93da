"""`python -m deploy.topics`: create the topics that do not exist yet, on any Kafka."""

from typing import Annotated

import typer

from services.kafka import create_topics
from services.settings import KafkaSettings


def main(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each topic: how far its readers scale.")] = 12,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 3,
) -> None:
    """Create Tutelage's topics at KAFKA_BOOTSTRAP_SERVERS; those that exist stay as they are."""
    create_topics(KafkaSettings(), partitions, replication)


if __name__ == "__main__":
    typer.run(main)
