"""Dead letters on their way back to the topics they came from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Final

from services.audit.letters import Letter, Spot, everything, marker, returned
from services.cli.logs import send
from services.cli.settings import CliSettings
from services.errors import Overloaded
from services.kafka import Follower, Producer
from services.screen import console, fail, progress
from services.topics import DEAD_LETTERS, Record

KAFKA_S: Final = 10.0
FLUSH_S: Final = 60.0
AT_ONCE: Final = 100


def send_back(found: CliSettings, chosen: Sequence[Letter]) -> None:
    """Send the letters, say what became of them. Raises Overloaded, and typer.Exit where Kafka does not acknowledge."""
    producer, ends = Producer(found), Counter[str]()
    with progress() as bar:
        shown = bar.add_task("letters", total=len(chosen), note="")
        records = _bytes_of(found, chosen)
        while batch := list(islice(records, AT_ONCE)):
            ends += _send_batch(producer, batch)
            bar.update(shown, advance=len(batch))
    for end, count in ends.most_common():
        console.print(f"{count:>8}  {end}", markup=False, highlight=False)
    if gone := len(chosen) - ends.total():
        console.print(f"[yellow]{gone} letters or their bytes are gone from Kafka[/]")
    console.print("`tutelage audit` and `tutelage dead-letters list` tell whether they went through")


def _send_batch(producer: Producer, batch: Iterable[Record]) -> Counter[str]:
    """Letters first, and only what Kafka has is marked as sent."""
    ends: Counter[str] = Counter()
    done: list[Spot] = []

    def acked(letter: Record, refused: str) -> None:
        back = letter.headers["dead-topic"].decode()
        ends[f"refused by Kafka: {refused}" if refused else f"sent back to {back}"] += 1
        if not refused:
            done.append(Spot(letter.partition, letter.offset))

    for letter in batch:
        send(producer, returned(letter), lambda refused, letter=letter: acked(letter, refused))  # type: ignore[misc]
    _flush(producer)
    for spot in done:
        send(producer, marker(spot), lambda _refused: None)
    _flush(producer)
    return ends


def _flush(producer: Producer) -> None:
    if left := producer.flush(FLUSH_S):
        raise fail(f"Kafka has not acknowledged {left} records within {FLUSH_S:.0f} s; what is marked was sent")


def _bytes_of(found: CliSettings, chosen: Sequence[Letter]) -> Iterator[Record]:
    """The letters with their bytes, read from the topic once more: no more of them in memory than are on their way."""
    wanted = {letter.spot: letter for letter in chosen}
    starts: dict[int, int] = {}
    for spot in wanted:
        starts[spot.partition] = min(spot.offset, starts.get(spot.partition, spot.offset))
    follower = Follower(found, DEAD_LETTERS)
    follower.start(KAFKA_S, starts)
    for record in everything(follower):
        letter = wanted.pop(Spot(record.partition, record.offset), None)
        if letter and (whole := record if record.value else _from_its_topic(found, record, letter)):
            yield whole
    follower.close()


def _from_its_topic(found: CliSettings, record: Record, letter: Letter) -> Record | None:
    """A letter that was too large for the topic of the dead has its bytes where they were."""
    if letter.partition < 0 or letter.offset < 0:
        return record
    original = record_at(found, letter.topic, Spot(letter.partition, letter.offset))
    return replace(record, value=original.value) if original else None


def record_at(found: CliSettings, topic: str, spot: Spot) -> Record | None:
    """The record at one place of a topic; None if it is gone, or was never there."""
    follower = Follower(found, topic)
    follower.start(KAFKA_S, {spot.partition: spot.offset})
    record = None
    with suppress(Overloaded):  # Behind the end some brokers neither give a record nor say that there is none.
        record = next(everything(follower, patience_s=3.0), None)
    follower.close()
    return record if record and record.offset == spot.offset else None
