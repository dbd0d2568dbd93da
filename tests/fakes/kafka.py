"""Kafka in memory, with the interface and the promises of services.kafka; tests/contracts/test_kafka.py holds both."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import xxhash

from services.errors import Overloaded
from services.kafka import MAX_MESSAGE_BYTES, Acked, Consumer, Follower, Producer
from services.topics import DEAD_LETTERS, FORGOTTEN, TOPICS, Record


@dataclass
class FakeBroker:
    """Topics, committed offsets and groups. `away` is an outage; `refuse` says why a record is refused for good."""

    partitions: int = 1
    away: bool = False
    refuse: Callable[[Record], str] = lambda _record: ""
    logs: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    committed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    members: dict[str, list["FakeConsumer"]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def create_topics(self, names: Iterable[str] = (*TOPICS, DEAD_LETTERS, FORGOTTEN)) -> None:
        for name in names:
            for partition in range(self.partitions):
                self.logs.setdefault((name, partition), [])

    def append(self, record: Record) -> None:
        self.create_topics([record.topic])
        partition = xxhash.xxh32_intdigest(record.key) % self.partitions
        log = self.logs[record.topic, partition]
        log.append(replace(record, partition=partition, offset=len(log)))

    def records(self, topic: str) -> list[Record]:
        """All of a topic, partition by partition."""
        return [record for (name, _), log in sorted(self.logs.items()) if name == topic for record in log]

    def wait(self, timeout_s: float) -> None:
        with self.changed:
            self.changed.wait(timeout_s)

    def say_changed(self) -> None:
        with self.changed:
            self.changed.notify_all()


class FakeProducer(Producer):
    """Delivers when polled, unless the broker is away."""

    def __init__(self, broker: FakeBroker, queue_records: int = 100_000) -> None:
        self._broker = broker
        self._room = queue_records
        self._queue: list[tuple[Record, Acked]] = []

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        if len(record.value) > MAX_MESSAGE_BYTES:
            acked("Message size too large")
        elif len(self._queue) >= self._room:
            raise Overloaded("the producer's queue is full: Kafka is slow or away")
        else:
            self._queue.append((record, acked))

    def poll(self, timeout_s: float) -> int:
        if self._broker.away or not self._queue:
            self._broker.wait(timeout_s)
        if self._broker.away:
            return 0
        queue, self._queue = self._queue, []
        for record, acked in queue:
            refused = self._broker.refuse(record)
            if not refused:
                self._broker.append(record)
            acked(refused)
        if queue:
            self._broker.say_changed()
        return len(queue)

    def flush(self, timeout_s: float) -> int:
        self.poll(timeout_s if self._broker.away else 0)
        while self._queue and not self._broker.away:  # What a callback has sent.
            self.poll(0)
        return len(self._queue)


class FakeConsumer(Consumer):
    """A member of a group; partitions go round its members in order of joining."""

    def __init__(
        self, broker: FakeBroker, group: str, topics: Sequence[str], on_revoke: Callable[[], None] = lambda: None
    ) -> None:
        self._broker = broker
        self._group = group
        self._topics = topics
        self._on_revoke = on_revoke
        self._positions: dict[tuple[str, int], int] = {}
        self._paused: set[tuple[str, int]] = set()
        broker.members.setdefault(group, []).append(self)

    def _share(self) -> set[tuple[str, int]]:
        members = self._broker.members[self._group]
        places = sorted(place for place in self._broker.logs if place[0] in self._topics)
        return {place for turn, place in enumerate(places) if members[turn % len(members)] is self}

    def _rebalance(self) -> None:
        share = self._share()
        if set(self._positions) - share:
            self._on_revoke()
            self._positions.clear()
        for topic, partition in share - set(self._positions):
            start = self._broker.committed.get((self._group, topic, partition), 0)
            self._positions[topic, partition] = start

    def owned(self) -> set[tuple[str, int]]:
        return set(self._positions)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self._rebalance()
        if not (records := self._next(max_records)):
            self._broker.wait(timeout_s)
            records = self._next(max_records)
        return records

    def _next(self, max_records: int) -> list[Record]:
        records: list[Record] = []
        for place in sorted(set(self._positions) - self._paused) if not self._broker.away else ():
            log, start = self._broker.logs[place], self._positions[place]
            taken = log[start : start + max_records - len(records)]
            self._positions[place] += len(taken)
            records += taken
        return records

    def commit(self, records: Iterable[Record]) -> None:
        if self._broker.away:
            raise Overloaded("Kafka does not take the commit")
        for record in records:
            place = (self._group, record.topic, record.partition)
            if (record.topic, record.partition) in self._positions:
                self._broker.committed[place] = max(self._broker.committed.get(place, 0), record.offset + 1)

    def pause(self) -> None:
        self._paused = set(self._positions)

    def resume(self) -> None:
        self._paused = set()

    def close(self) -> None:
        if self._positions:
            self._on_revoke()
        self._broker.members[self._group].remove(self)


class FakeFollower(Follower):
    """Reads a topic from its beginning."""

    def __init__(self, broker: FakeBroker, topic: str, from_end: bool = False) -> None:
        self._broker = broker
        self._topic = topic
        self._from_end = from_end
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] | None = None

    def start(self, timeout_s: float, offsets: Mapping[int, int] | None = None) -> None:
        if self._broker.away:
            raise Overloaded("Kafka does not answer")
        there = {number: len(log) for (name, number), log in self._broker.logs.items() if name == self._topic}
        if not there:
            raise Overloaded(f"topic {self._topic} does not exist yet")
        if absent := set(offsets or ()) - set(there):
            raise Overloaded(f"topic {self._topic} has no partition {min(absent)}")
        starts = there if self._from_end else dict.fromkeys(there, 0) if offsets is None else offsets
        self._next = dict(starts)
        self._ends = {number: there[number] for number in starts}

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        until_s = time.monotonic() + timeout_s
        while not (records := self._unread()[:max_records]):
            if time.monotonic() >= until_s:
                return []
            self._broker.wait(until_s - time.monotonic())
        for record in records:
            self._next[record.partition] = record.offset + 1
        return records

    def _unread(self) -> list[Record]:
        return [
            record
            for record in self._broker.records(self._topic)
            if record.partition in self._next and record.offset >= self._next[record.partition]
        ]

    def caught_up(self) -> bool:
        return self._ends is not None and all(self._next[number] >= end for number, end in self._ends.items())

    def first_kept(self, timeout_s: float) -> dict[int, int]:
        if self._broker.away:
            raise Overloaded("Kafka does not answer")
        return dict.fromkeys(self._next, 0)

    def close(self) -> None:
        self._ends = None
