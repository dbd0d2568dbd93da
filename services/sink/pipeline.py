"""poll -> decode -> batch -> insert -> commit. While one batch is inserted, the next is read."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from services import telemetry
from services.clickhouse import ClickHouse
from services.errors import BadEvent, Overloaded
from services.kafka import Consumer, Producer
from services.sink.batch import Batch, Due, Limits, Place, due
from services.sink.wire import row
from services.sink.writing import Inserting, commit
from services.topics import Record

POLL_RECORDS: Final = 2_000
POLL_S: Final = 0.1
STAY_S: Final = 1.0

Join = Callable[[Callable[[], None]], Consumer]
"""Makes the consumer, given what to do when partitions are taken from it."""


class Pipeline:
    """One member of the sink's group. It holds a batch per topic and the one that is being written, and nothing else.

    ClickHouse is waited for in a second thread, one insert at a time; the next one begins, and the topic's next commit
    is made, only after the commit of this one.
    """

    def __init__(self, join: Join, producer: Producer, clickhouse: ClickHouse, limits: Limits) -> None:
        self._consumer = join(self._write_or_leave)
        self._producer = producer
        self._inserting = Inserting(clickhouse)
        self._limits = limits
        self._batches: dict[str, Batch] = {}
        self._owned: set[Place] = set()
        self._paused = False

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; then write what is read, commit it and leave the group."""
        retrying = Retrying(
            retry=retry_if_exception_type(Overloaded),
            wait=wait_exponential_jitter(multiplier=0.5, max=10, jitter=0.5),
            stop=stop_when_event_set(stopping),
            before_sleep=self._say_paused,
            sleep=lambda seconds: self._stay(seconds, stopping),
            retry_error_callback=lambda _state: None,
        )
        while not stopping.is_set():
            self._read(POLL_S)
            retrying(self._write, self._is_due)
            self._resume()
        self._write_or_leave()
        self._inserting.close()
        self._consumer.close()

    def _read(self, timeout_s: float) -> None:
        records = self._consumer.poll(POLL_RECORDS, timeout_s)
        if (owned := self._consumer.owned()) != self._owned:
            self._owned = owned
            for batch in self._held():
                batch.keep(owned)
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        if (batch := self._batches.get(record.topic)) is None:
            batch = self._batches[record.topic] = Batch(time.monotonic())
        try:
            batch.add(record, row(record))
        except BadEvent as bad:
            batch.add(record, None, bad.reason)

    def _is_due(self, batch: Batch) -> bool:
        return due(batch, self._limits, time.monotonic()) is not Due.NOT_YET

    def _write(self, wanted: Callable[[Batch], bool]) -> None:
        """Commit what is inserted by now, and begin to insert what is wanted. Raises Overloaded: call again."""
        if self._inserting.idle():
            self._commit()
        for topic, batch in list(self._batches.items()):
            if not batch.records:  # All its partitions went to another member.
                del self._batches[topic]
            elif wanted(batch):
                self._commit()
                self._inserting.begin(self._batches.pop(topic))

    def _commit(self) -> None:
        """Wait for the insert, if there is one, and commit its batch. Raises Overloaded: call again."""
        if (batch := self._inserting.batch) is not None:
            if batch.records:
                commit(batch, self._inserting.end(), self._consumer, self._producer)
            self._inserting.forget()

    def _held(self) -> Iterator[Batch]:
        """Every batch. None is being inserted when partitions have been taken: `_write_or_leave` waited for it."""
        yield from self._batches.values()
        if self._inserting.batch is not None:
            yield self._inserting.batch

    def _write_or_leave(self) -> None:
        """One try: partitions are taken from us or we go. What can't be written now, the next member reads again."""
        try:
            self._write(lambda _batch: True)
            self._commit()
        except Overloaded as why:
            telemetry.log.warning("a batch is left to the next member of the group", reason=str(why))

    def _stay(self, seconds: float, stopping: threading.Event) -> None:
        """Wait, but go on polling: who does not is taken for dead, and his partitions go to another."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not stopping.is_set():
            self._consumer.pause()  # Each time: a rebalance brings partitions that are not paused.
            self._read(min(left_s, STAY_S))

    def _say_paused(self, state: RetryCallState) -> None:
        telemetry.PAUSED.labels("sink").set(1)
        if not self._paused and state.outcome:
            telemetry.log.warning("paused; the same batch is tried again", reason=str(state.outcome.exception()))
        self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._consumer.resume()
            telemetry.PAUSED.labels("sink").set(0)
            telemetry.log.info("resumed")
