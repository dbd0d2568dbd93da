"""Tells what keys use on topic `key-usage`, and reads what all gateways told: quotas outlive restarts and hold in all.

Every second, from the thread that follows the topic. A killed process loses at most the last second's counting; what
was answered in it is in the ledger all the same. The topic keeps one record a key, process and day, and each gateway
takes those of earlier months out as it starts and as the month ends: a start reads at most a month of them.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import InvalidOperation
from functools import partial
from typing import Final

from protos import events_pb2 as events
from services import telemetry
from services.errors import BadEvent, Overloaded
from services.gateway.following import Following
from services.gateway.quotas import Quotas
from services.kafka import Follower, Producer, bury
from services.settings import KafkaSettings
from services.topics import KEY_USAGE, Record, decode, encode

TELL_EVERY_S: Final = 1.0
CLEAR_EVERY_S: Final = 3600.0
LAST_WORDS_S: Final = 5.0
Bury = Callable[[Sequence[tuple[str, int]]], object]


class Usage:
    """Keeps `quotas` and the topic of one mind."""

    def __init__(self, quotas: Quotas, follower: Follower, producer: Producer, bury_keys: Bury) -> None:
        self._quotas = quotas
        self._producer = producer
        self._bury = bury_keys
        self._following = Following(follower, KEY_USAGE.name, self._hear, self._between)
        self._told_s = self._cleared_s = -CLEAR_EVERY_S
        self._under_way: set[str] = set()

    @classmethod
    def on(cls, settings: KafkaSettings, quotas: Quotas) -> "Usage":
        """On a Kafka, with clients of its own."""
        bury_keys = partial(bury, settings, KEY_USAGE.name.__eq__)
        return cls(quotas, Follower(settings, KEY_USAGE.name), Producer(settings), bury_keys)

    async def start(self, wait_s: float = 5.0) -> None:
        """Read what was used before, for `wait_s` at most, then go on in the background. Kafka may be away."""
        if not await self._following.start(wait_s):
            telemetry.log.warning("what keys have used is not read yet: those with a budget are refused until it is")

    async def close(self) -> None:
        """Say the last, and stop."""
        await self._following.close()
        self._tell()
        self._producer.flush(LAST_WORDS_S)

    def _hear(self, record: Record) -> None:
        usage: events.KeyUsage = decode(record)
        try:
            self._quotas.hear(usage, record.partition)
        except InvalidOperation as error:
            raise BadEvent(f"cost_usd is {usage.cost_usd[:60]!r}, not a number") from error

    def _between(self) -> None:
        now_s = time.monotonic()
        self._quotas.known = self._following.caught_up
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            self._tell()
        self._producer.poll(0)
        if self._following.caught_up and now_s - self._cleared_s >= CLEAR_EVERY_S:
            self._cleared_s = now_s
            self._clear()

    def _tell(self) -> None:
        """At most one record of a key and day is under way: while Kafka is away, the next tells all."""
        for usage in self._quotas.unsaid():
            name = KEY_USAGE.key(usage)
            if name in self._under_way:
                self._quotas.say_again(usage)
                continue
            self._under_way.add(name)  # First: what is too large is refused at once.
            try:
                self._producer.send(encode(KEY_USAGE, usage), partial(self._was_told, name, usage))
            except Overloaded:
                self._under_way.discard(name)
                self._quotas.say_again(usage)

    def _was_told(self, name: str, usage: events.KeyUsage, refused: str) -> None:
        self._under_way.discard(name)
        if refused:
            telemetry.log.warning("Kafka refuses what a key used", key=usage.key_id, reason=refused)

    def _clear(self) -> None:
        """Where Kafka does not take it now, a gateway that starts later does it."""
        if old := self._quotas.drop_old():
            with suppress(Overloaded):
                self._bury(old)
