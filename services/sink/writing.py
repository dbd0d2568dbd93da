"""A batch into its table: insert, bury what ClickHouse refuses, and only then commit."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from services import telemetry
from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.kafka import Consumer, Producer
from services.sink.batch import Batch, Rows, token
from services.sink.forgetting import Forgetting
from services.sink.rows import TABLES
from services.topics import Record, dead_letter

Dead = list[tuple[Record, str]]
SERVICE: Final = "sink"
FLUSH_S: Final = 10.0
NOT_THE_ROWS: Final = 10  # As many rows refused, and none taken: it is the table that is wrong.


class WrongTable(Exception):  # noqa: N818
    """No row of a batch fits the table: stop before the commit, and look at the schema."""


class Inserting:
    """The insert that is under way, in a thread of its own: of one batch or of none."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._forgetting = Forgetting(clickhouse)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="insert")
        self._refused: Future[Dead] | None = None
        self.batch: Batch | None = None
        """What is being inserted, or waits for its commit, or to be inserted again."""

    def begin(self, batch: Batch) -> None:
        """Insert this batch; there must be no other."""
        self.batch = batch
        self._refused = self._thread.submit(_store, batch, self._clickhouse, self._forgetting)

    def idle(self) -> bool:
        """Whether `end` would not have to wait."""
        return self._refused is None or self._refused.done()

    def end(self) -> Dead:
        """Wait; returns what ClickHouse will never take. Raises Overloaded: all others are not in, call again."""
        if self._refused is None and self.batch is not None:
            self.begin(self.batch)
        try:
            return self._refused.result() if self._refused is not None else []
        except Overloaded:
            self._refused = None
            raise

    def forget(self) -> None:
        """The batch is committed."""
        self.batch = self._refused = None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


def commit(batch: Batch, refused: Dead, consumer: Consumer, producer: Producer) -> None:
    """Bury what was refused of an inserted batch, and commit it. Raises Overloaded: try again."""
    _bury([*batch.dead, *refused], producer)
    consumer.commit(batch.records)
    telemetry.CONSUMED.labels(batch.records[0].topic).inc(len(batch.records))


def _store(batch: Batch, clickhouse: ClickHouse, forgetting: Forgetting) -> Dead:
    """Insert a batch without the rows of erased customers; returns what ClickHouse will never take."""
    topic = batch.records[0].topic
    kept, gone = forgetting.parted(topic, batch.rows)
    refused = _insert(topic, kept, clickhouse)
    if len(refused) == len(kept) >= NOT_THE_ROWS:
        raise WrongTable(f"{topic}: all {len(refused)} rows are refused: {refused[0][1]}")
    forgetting.settle(topic, kept, gone)
    telemetry.INSERTED.labels(topic).inc(len(kept) - len(refused))
    return refused


def _insert(topic: str, rows: Rows, clickhouse: ClickHouse) -> Dead:
    """Insert the rows; halve what is refused until the bad rows are alone, and return those with the reasons."""
    if not rows:
        return []
    try:
        clickhouse.load(topic, TABLES[topic].insert, [row for _, row in rows], token(record for record, _ in rows))
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
    for record, reason in dead:
        producer.bury(dead_letter(record, reason, SERVICE))
    if left := producer.flush(FLUSH_S):
        raise Overloaded(f"Kafka has not acknowledged {left} dead letters")
    for record, reason in dead:
        telemetry.DEAD.labels(record.topic).inc()
        telemetry.log.error(
            "dead letter", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason
        )
