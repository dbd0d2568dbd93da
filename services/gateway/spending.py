"""What keys have used, by UTC day: in this process as it counts, in others as they tell. No IO; one thread at a time.

A day is written 2026-11-29 and a month 2026-11, so a day's month is its first seven characters.
"""

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from protos import events_pb2 as events


class Used(NamedTuple):
    """So much of one key, in one process and day."""

    requests: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)


class Told(NamedTuple):
    """What a process said last, and on which partition that lies."""

    used: Used
    partition: int


class Spending:
    """The use of every key in this process and the others, `source` being this one's."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._own: dict[tuple[str, str], Used] = {}
        self._changed: set[tuple[str, str]] = set()
        self._told: dict[tuple[str, str, str], Told] = {}
        self._usd: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        """Dollars by key and day, and by key and month."""

    def usd(self, key_id: str, period: str) -> Decimal:
        """What the key has spent in a day or a month, everywhere."""
        return self._usd.get((key_id, period), Decimal(0))

    def add(self, key_id: str, day: str, used: Used) -> None:
        """Used in this process."""
        name = (key_id, day)
        before = self._own.get(name)
        self._own[name] = used if before is None else _sum(before, used)
        self._changed.add(name)
        if used.usd:
            self._spend(key_id, day, used.usd)

    def hear(self, usage: events.KeyUsage, partition: int) -> Used:
        """What a process tells; returns by how much that is more than it had told before.

        Nothing is new of what this process told itself. What a process has used only grows, so less is from before.
        """
        name = (usage.key_id, usage.source, usage.day)
        used = Used(usage.requests, usage.tokens, Decimal(usage.cost_usd or 0))
        known = self._told[name].used if name in self._told else Used()
        if used.requests < known.requests or used.tokens < known.tokens or used.usd < known.usd:
            return Used()
        self._told[name] = Told(used, partition)
        if usage.source == self._source:
            return Used()
        more = Used(used.requests - known.requests, used.tokens - known.tokens, used.usd - known.usd)
        self._spend(usage.key_id, usage.day, more.usd)
        return more

    def unsaid(self) -> list[events.KeyUsage]:
        """What has changed in this process since this was asked last."""
        changed, self._changed = self._changed, set()
        return [self._usage(key_id, day) for key_id, day in sorted(changed)]

    def say_again(self, key_id: str, day: str) -> None:
        """It was not told after all."""
        if (key_id, day) in self._own:
            self._changed.add((key_id, day))

    def drop_before(self, month: str) -> list[tuple[str, int]]:
        """Forget what is of earlier months; returns the topic's keys of it, each with its partition."""
        old = [name for name in self._told if name[2][:7] < month]
        gone = [("/".join(name), self._told.pop(name).partition) for name in old]
        self._own = {name: used for name, used in self._own.items() if name[1][:7] >= month}
        self._changed = {name for name in self._changed if name[1][:7] >= month}
        for name in [name for name in self._usd if name[1][:7] < month]:
            del self._usd[name]
        return gone

    def _spend(self, key_id: str, day: str, usd: Decimal) -> None:
        self._usd[key_id, day] += usd
        self._usd[key_id, day[:7]] += usd

    def _usage(self, key_id: str, day: str) -> events.KeyUsage:
        requests, tokens, usd = self._own[key_id, day]
        return events.KeyUsage(
            key_id=key_id, source=self._source, day=day, requests=requests, tokens=tokens, cost_usd=f"{usd:f}"
        )


def _sum(one: Used, other: Used) -> Used:
    return Used(one.requests + other.requests, one.tokens + other.tokens, one.usd + other.usd)
