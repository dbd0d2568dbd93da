"""The producer."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as _Producer

from services.errors import Overloaded
from services.kafka.config import producer_config
from services.settings import KafkaSettings
from services.topics import Record, hollow

Acked = Callable[[str], None]
"""Called once per record when Kafka has it ('') or has refused it for good (why)."""

# What Kafka says of the record itself; every other error is the outside's and passes.
REFUSED: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})


class Producer:
    """An idempotent producer: acks=all, in order, for as long as an outage lasts. Not shared between processes.

    A fatal error of the client (another producer fenced it off, say) is a KafkaException: the process must restart.
    """

    RESEND_AFTER_S: Final = 1.0

    def __init__(self, settings: KafkaSettings, linger_ms: int = 5) -> None:
        """`linger_ms`: how long a batch may wait for more; `flush` waits for none."""
        self._producer = _Producer(producer_config(settings, linger_ms))
        self._again: list[tuple[Record, Acked]] = []
        self._again_at_s = 0.0

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        """Queue a record, for the partition that it names, else for its key's. Raises Overloaded when it is full.

        `acked` runs inside `poll` or `flush`, or at once for a record that is too large.
        """
        try:
            self._produce(record, acked)
        except BufferError as error:
            raise Overloaded("the producer's queue is full: Kafka is slow or away") from error

    def bury(self, letter: Record, acked: Acked = lambda _error: None) -> None:
        """`send` a dead letter; if it is too large for its topic, what says where it lies instead.

        One that Kafka does not take even so is a RuntimeError in `poll` or `flush`: the process must restart.
        """
        self.send(letter, partial(self._buried, letter, acked))

    def _buried(self, letter: Record, acked: Acked, why: str) -> None:
        if not why:
            acked("")
            return
        try:
            self.send(hollow(letter), partial(_or_stop, acked))
        except Overloaded:
            self._again.append((hollow(letter), partial(_or_stop, acked)))

    def _produce(self, record: Record, acked: Acked) -> None:
        delivered = partial(self._delivered, record, acked)
        headers = list(record.headers.items())
        try:
            self._producer.produce(
                record.topic, record.value, record.key, record.partition, on_delivery=delivered, headers=headers
            )
        except KafkaException as error:
            self._answer(error.args[0], record, acked)

    def _delivered(self, record: Record, acked: Acked, error: KafkaError | None, _message: Message) -> None:
        self._answer(error, record, acked)

    def _answer(self, error: KafkaError | None, record: Record, acked: Acked) -> None:
        if error is None:
            acked("")
        elif error.code() in REFUSED:
            acked(str(error))
        elif error.fatal() or error.code() == KafkaError._FATAL:
            raise KafkaException(error)
        else:  # A topic that is not there yet, a right that is not given yet.
            self._again_at_s = time.monotonic() + self.RESEND_AFTER_S
            self._again.append((record, acked))

    def _send_again(self) -> None:
        if self._again and time.monotonic() >= self._again_at_s:
            again, self._again = self._again, []
            for record, acked in again:
                try:
                    self._produce(record, acked)
                except BufferError:
                    self._again.append((record, acked))

    def poll(self, timeout_s: float) -> int:
        """Run the callbacks of what was acknowledged; return how many ran."""
        self._send_again()
        return int(self._producer.poll(timeout_s))

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is acknowledged; return how many records still are not."""
        self._send_again()
        return int(self._producer.flush(timeout_s)) + len(self._again)


def _or_stop(acked: Acked, why: str) -> None:
    if why:
        raise RuntimeError(f"Kafka refuses a dead letter: {why}")
    acked("")
