"""Dead letters on their way back to the topics they came from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

import typer

from services.audit.graves import Grave
from services.audit.letters import Letter, Spot, marker, returned, unmarked, whole
from services.cli.logs import send
from services.cli.settings import CliSettings
from services.errors import Overloaded
from services.kafka import Follower, Producer, everything
from services.screen import console, fail, progress
from services.topics import DEAD_LETTERS, Record

KAFKA_S: Final = 10.0
FLUSH_S: Final = 60.0
AT_ONCE: Final = 25  # A hundred mebibytes, if all are as large as records may be.
SHOWN: Final = 20


def send_back(found: CliSettings, chosen: Sequence[Grave]) -> None:
    """Send each record once, mark all its letters, say what became of them.

    Raises Overloaded, and typer.Exit where Kafka does not acknowledge or a letter could not be sent.
    """
    producer, sent, refused, gone = Producer(found), Counter[str](), Counter[str](), list[Letter]()
    with progress() as bar:
        shown = bar.add_task("records", total=len(chosen), note="")
        marks = {one.letter.spot: one.spots for one in chosen}
        records = _bytes_of(found, [one.letter for one in chosen], gone)
        while batch := list(islice(records, AT_ONCE)):
            not_taken = _send_batch(producer, batch, marks)
            refused.update(not_taken.values())
            sent.update(_topic(one) for one in batch if _spot(one) not in not_taken)
            bar.update(shown, advance=len(batch))
    for topic, count in sent.most_common():
        console.print(f"{count:>8}  sent back to {topic}", highlight=False)
    _say_unsent(refused, gone)
    console.print("`tutelage audit` and `tutelage dead-letters list` tell whether they went through")
    if refused or gone:
        raise typer.Exit(1)


def _say_unsent(refused: Counter[str], gone: Sequence[Letter]) -> None:
    for why, count in refused.most_common():
        console.print(f"{count:>8}  refused by Kafka: {why}", highlight=False)
    if refused:
        console.print(
            "Those are not marked as sent. Raise max.message.bytes of their topic and, in KAFKA_OPTIONS, "
            "message.max.bytes; then replay them.",
        )
    if gone:
        some = ", ".join(str(letter.spot) for letter in gone[:SHOWN]) + (" ..." if len(gone) > SHOWN else "")
        console.print(
            f"{len(gone):>8}  not sent: Kafka has deleted the letter, or the bytes that it left on its topic: {some}",
            highlight=False,
        )


def _send_batch(producer: Producer, batch: Sequence[Record], marks: Mapping[Spot, Sequence[Spot]]) -> dict[Spot, str]:
    """Records first, and only what Kafka has is marked as sent; returns the rest, and why."""
    letters = {_spot(letter): letter for letter in batch}
    not_taken = _not_taken(producer, {spot: returned(letter) for spot, letter in letters.items()})
    # What fitted its topic to the byte fits it again only without the header that says where it has been.
    not_taken = _not_taken(producer, {spot: unmarked(returned(letters[spot])) for spot in not_taken})
    for spot in (one for sent in letters.keys() - not_taken.keys() for one in marks[sent]):
        send(producer, marker(spot), lambda _refused: None)
    _flush(producer)
    return not_taken


def _spot(letter: Record) -> Spot:
    return Spot(letter.partition, letter.offset)


def _topic(letter: Record) -> str:
    return letter.headers["dead-topic"].decode()


def _not_taken(producer: Producer, records: Mapping[Spot, Record]) -> dict[Spot, str]:
    """Which records Kafka refuses for good, and why; returned when it has all others."""
    refused: dict[Spot, str] = {}
    for spot, record in records.items():
        send(producer, record, partial(_note, refused, spot))
    _flush(producer)
    return refused


def _note(refused: dict[Spot, str], spot: Spot, why: str) -> None:
    if why:
        refused[spot] = why


def _flush(producer: Producer) -> None:
    if left := producer.flush(FLUSH_S):
        raise fail(f"Kafka has not acknowledged {left} records within {FLUSH_S:.0f} s; what is marked was sent")


def _bytes_of(found: CliSettings, chosen: Sequence[Letter], gone: list[Letter]) -> Iterator[Record]:
    """The letters with their bytes, read from the topic once more: no more of them in memory than are on their way.

    Those that are no more, or whose bytes are no more where they were left, are `gone`.
    """
    wanted = {letter.spot: letter for letter in chosen}
    starts: dict[int, int] = {}
    for spot in wanted:
        starts[spot.partition] = min(spot.offset, starts.get(spot.partition, spot.offset))
    follower = Follower(found, DEAD_LETTERS)
    follower.start(KAFKA_S, starts)
    for record in everything(follower):
        letter = wanted.pop(Spot(record.partition, record.offset), None)
        if letter is None:
            continue
        if found_whole := with_bytes(found, record, letter):
            yield found_whole
        else:
            gone.append(letter)
    follower.close()
    gone += wanted.values()


def with_bytes(found: CliSettings, record: Record, letter: Letter) -> Record | None:
    """The letter with its bytes, wherever they are; None where they are no more."""
    if not letter.left:
        return record
    original = record_at(found, letter.topic, letter.origin)
    return whole(record, original) if original else None


def record_at(found: CliSettings, topic: str, spot: Spot) -> Record | None:
    """The record at one place of a topic; None if it is gone, or was never there."""
    follower = Follower(found, topic)
    follower.start(KAFKA_S, {spot.partition: spot.offset})
    record = None
    with suppress(Overloaded):  # Behind the end some brokers neither give a record nor say that there is none.
        record = next(everything(follower, patience_s=3.0, at_once=1), None)
    follower.close()
    return record if record and record.offset == spot.offset else None
