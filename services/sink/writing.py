"""A batch into its table: insert, bury what ClickHouse refuses, and only then commit."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from services import telemetry
from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.kafka import Consumer, Producer
from services.sink.batch import Batch, Row, token
from services.sink.rows import TABLES
from services.topics import Record, dead_letter

Rows = Sequence[tuple[Record, Row]]
Dead = list[tuple[Record, str]]
FLUSH_S: Final = 10.0
NOT_THE_ROWS: Final = 10  # As many rows refused, and none taken: it is the table that is wrong.


class WrongTable(Exception):  # noqa: N818
    """No row of a batch fits the table: stop before the commit, and look at the schema."""


def write(batch: Batch, consumer: Consumer, producer: Producer, clickhouse: ClickHouse) -> None:
    """Write a batch of one topic and commit it. Raises Overloaded: try the same batch again."""
    topic = batch.records[0].topic
    refused = _insert(topic, batch.rows, clickhouse)
    if len(refused) == len(batch.rows) >= NOT_THE_ROWS:
        raise WrongTable(f"{topic}: all {len(refused)} rows are refused: {refused[0][1]}")
    _bury([*batch.dead, *refused], producer)
    consumer.commit(batch.records)
    telemetry.CONSUMED.labels(topic).inc(len(batch.records))
    telemetry.INSERTED.labels(topic).inc(len(batch.rows) - len(refused))


def _insert(topic: str, rows: Rows, clickhouse: ClickHouse) -> Dead:
    """Insert the rows; halve what is refused until the bad rows are alone, and return those with the reasons."""
    if not rows:
        return []
    try:
        clickhouse.insert(topic, TABLES[topic].columns, [row for _, row in rows], token(record for record, _ in rows))
    except BadEvent as bad:
        if len(rows) == 1:
            return [(rows[0][0], bad.reason)]
        middle = len(rows) // 2
        return _insert(topic, rows[:middle], clickhouse) + _insert(topic, rows[middle:], clickhouse)
    return []


def _bury(dead: Dead, producer: Producer) -> None:
    """Bring the dead letters to Kafka; return when it has them."""
    if not dead:
        return
    too_large: list[Record] = []
    for record, reason in dead:
        letter = dead_letter(record, reason)
        producer.send(letter, partial(_note_refusal, too_large, letter))
    _flush(producer)
    for letter in too_large:  # Its bytes stay where they were; the headers say where.
        producer.send(replace(letter, value=b""))
    _flush(producer)
    for record, reason in dead:
        telemetry.DEAD.labels(record.topic).inc()
        telemetry.log.error(
            "dead letter", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason
        )


def _note_refusal(too_large: list[Record], letter: Record, refusal: str) -> None:
    if refusal:
        too_large.append(letter)


def _flush(producer: Producer) -> None:
    if left := producer.flush(FLUSH_S):
        raise Overloaded(f"Kafka has not acknowledged {left} dead letters")
