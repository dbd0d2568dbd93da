"""What an orderly stop owes to a broker that keeps nothing: all is read first, and what nobody else has is put down.

Requests, exchanges, feedback and candidates are in ClickHouse by then; a topic of these that somebody has not read, as
the sink or ClickHouse has died, is put down whole. So are all other topics, runs and promotions among them: in a file
of the state folder, from which the next start brings them back, once. A stack that was killed after that starts
without them, as the teacher's alone, rather than with a promotion of the day before.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from deploy.local.processes import wait_until
from services.errors import Overloaded
from services.kafka import Follower, Producer, everything, has_read
from services.settings import KafkaSettings
from services.topics import CANDIDATES, DEAD_LETTERS, EXCHANGES, FEEDBACK, FORGOTTEN, REQUESTS, SHADOWS, TOPICS, Record

READ_WITHIN_S: Final = 20.0
KAFKA_S: Final = 5.0
LOOKS_AT_ONCE: Final = 8
TRAFFIC: Final[Mapping[str, Sequence[str]]] = {
    REQUESTS.name: ("intake",),
    EXCHANGES.name: ("sink", "sampler"),
    FEEDBACK.name: ("sink", "sampler"),
    CANDIDATES.name: ("sink",),
    SHADOWS.name: ("sink",),
}
"""The groups that must have read a topic before it may go."""
KEPT: Final = (*sorted(TOPICS.keys() - TRAFFIC.keys()), DEAD_LETTERS, FORGOTTEN)


class Line(BaseModel):
    """A record in the file: what it takes to produce it again."""

    model_config = ConfigDict(from_attributes=True, ser_json_bytes="base64", val_json_bytes="base64")

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    partition: int


def await_read(settings: KafkaSettings, group: str, topics: tuple[str, ...]) -> None:
    """Return when the group has committed all that the topics hold, or after READ_WITHIN_S: it may be paused."""
    with suppress(Overloaded):  # The broker has died: there is nothing left to wait for.
        wait_until(lambda: has_read(settings, group, topics), READ_WITHIN_S)


def put_down(settings: KafkaSettings, file: Path) -> None:
    """Write the topics that are kept to the file: whole or not at all."""
    with suppress(Overloaded):
        fresh = file.with_suffix(".new")
        # Side by side, for each look takes a second. What is kept is small; what was not read may not be.
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as looks, fresh.open("w") as out:
            read = looks.map(lambda topic: _read_by(settings, TRAFFIC[topic], topic), TRAFFIC)
            kept = looks.map(lambda topic: list(_all(settings, topic)), KEPT)
            unread = (_all(settings, topic) for topic, had in zip(TRAFFIC, read, strict=True) if not had)
            for records in (*kept, *unread):
                out.writelines(f"{Line.model_validate(one).model_dump_json()}\n" for one in records)
        fresh.replace(file)


def bring_back(settings: KafkaSettings, file: Path) -> None:
    """Send what the file holds to the partitions it came from, so that it has its offsets again, and drop the file."""
    if not file.is_file():
        return
    producer = Producer(settings)
    with file.open() as lines:
        for text in lines:
            _send(producer, Record(**dict(Line.model_validate_json(text))))
    if left := producer.flush(READ_WITHIN_S):
        raise Overloaded(f"the broker has not taken {left} of the records in {file}")
    file.unlink()


def _send(producer: Producer, record: Record) -> None:
    """Raises Overloaded if the broker takes nothing for READ_WITHIN_S."""
    try:
        producer.send(record)
    except Overloaded:
        producer.flush(READ_WITHIN_S)
        producer.send(record)


def _read_by(settings: KafkaSettings, groups: Sequence[str], topic: str) -> bool:
    return all(has_read(settings, group, [topic]) for group in groups)


def _all(settings: KafkaSettings, topic: str) -> Iterator[Record]:
    with closing(Follower(settings, topic)) as follower:
        follower.start(KAFKA_S)
        yield from everything(follower)
