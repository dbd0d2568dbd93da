"""Follows a compacted topic in a thread, from its beginning on: what is decided elsewhere is known within a second."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from services import telemetry
from services.errors import BadEvent, Overloaded
from services.kafka import Follower
from services.topics import Record

KAFKA_WAIT_S: Final = 2.0
POLL_S: Final = 0.5
AT_ONCE: Final = 500


def end_gateway() -> None:
    """Have this process stop as it is told to from outside: what is open is answered, and the spool closed."""
    os.kill(os.getpid(), signal.SIGTERM)


class Following:
    """Hands every record of a topic to `take`, in a thread; `take` may raise BadEvent, and the record is skipped.

    A record without a value, by which a key is taken out of the topic, is not handed on. `between` is called after
    each poll, twice a second at least, also while there is nothing to read. Any other error, such as a fatal one of
    Kafka's client, ends the gateway: what it knows would stay as it was, and keys that are taken back stay good.
    """

    def __init__(
        self, follower: Follower, topic: str, take: Callable[[Record], None], between: Callable[[], None] = lambda: None
    ) -> None:
        self._follower = follower
        self._take = take
        self._between = between
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=topic, daemon=True)

    @property
    def caught_up(self) -> bool:
        """Whether the topic has been read to its end once, and is still being read."""
        return self._caught_up.is_set() and self._failure is None

    async def start(self, wait_s: float) -> bool:
        """Read what is there, for `wait_s` at most, then go on in the background; returns `caught_up`."""
        self._thread.start()
        return await asyncio.to_thread(self._caught_up.wait, wait_s)

    async def close(self) -> None:
        """Stop following. Raises what has ended it before."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        self._follower.close()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - `close` raises it
            self._failure = error
            telemetry.log.exception("a topic can't be followed any more: the gateway stops", topic=self._thread.name)
            end_gateway()

    def _follow(self) -> None:
        reach = Retrying(
            retry=retry_if_exception_type(Overloaded),
            wait=wait_exponential_jitter(multiplier=0.2, max=2, jitter=0.2),
            stop=stop_when_event_set(self._stopping),
            sleep=sleep_using_event(self._stopping),
            retry_error_callback=lambda _state: None,
        )
        reach(self._follower.start, KAFKA_WAIT_S)
        while not self._stopping.is_set():
            for record in self._follower.poll(AT_ONCE, POLL_S):
                self._read(record)
            if self._follower.caught_up():
                self._caught_up.set()
            self._between()

    def _read(self, record: Record) -> None:
        if not record.value:
            return
        try:
            self._take(record)
        except BadEvent as bad:
            telemetry.DEAD.labels(record.topic).inc()
            telemetry.log.error("can't be read: skipped", topic=record.topic, offset=record.offset, reason=bad.reason)
