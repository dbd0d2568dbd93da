"""How much a key may use: requests and tokens a minute, dollars a day and a month, in all gateways together.

A request is counted as it comes; tokens and dollars are known only after the answer, with those of every attempt. So a
call is let in while nothing is overdrawn, and what is under way then may overdraw it. What other gateways let in is
taken from the same buckets as soon as they tell, within two seconds. Answers that nobody sees (services.gateway.shadow)
are not the caller's to pay.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from prometheus_client import Counter

from protos import events_pb2 as events
from services.gateway.bucket import Bucket
from services.gateway.keys import Holder, KeysUnread
from services.gateway.spending import Spending, Used

OVER: Final = Counter("tutelage_quota_refusals_total", "Calls refused because a key has used what it may.", ("limit",))
DAY_S: Final = 86_400


class OverQuota(Exception):  # noqa: N818
    """The key has used what it may; `retry_after_s` says when there is room again."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Allowance:
    """What is left to a key this minute; None where there is no limit."""

    holder: Holder
    requests: Bucket | None
    tokens: Bucket | None

    @classmethod
    def of(cls, holder: Holder, now_s: float) -> "Allowance":
        """That of a key of which nothing was used lately."""
        requests, tokens = holder.requests_per_minute, holder.tokens_per_minute
        return cls(holder, Bucket(requests, now_s) if requests else None, Bucket(tokens, now_s) if tokens else None)

    def take(self, used: Used, now_s: float) -> None:
        """Charge the minute's buckets."""
        if self.requests:
            self.requests.take(used.requests, now_s)
        if self.tokens:
            self.tokens.take(used.tokens, now_s)


class Quotas:
    """Lets calls in and counts them. For any thread. Keys without a limit are not counted."""

    def __init__(
        self,
        source: str,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """`source` is this process, as in its exchanges; `now_s` a clock that never goes back, `wall_s` since 1970."""
        self.spending = Spending(source)
        self.known = False
        """Whether what was used before, and by others, has been read."""
        self._now_s = now_s
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._allowances: dict[str, Allowance] = {}

    def admit(self, holder: Holder) -> None:
        """Count a request. Raises OverQuota, or KeysUnread while it is not known what a key with a budget has spent."""
        if not holder.limited:
            return
        now_s, day = self._now_s(), _day(self._wall_s())
        with self._lock:
            allowed = self._allowances.get(holder.id)
            if allowed is None or allowed.holder is not holder:  # A key that changed has another holder.
                allowed = self._allowances[holder.id] = Allowance.of(holder, now_s)
            self._check_minute(allowed, now_s)
            if holder.usd_per_day or holder.usd_per_month:
                self._check_money(holder, day)
            allowed.take(_ONE, now_s)
            self.spending.add(holder.id, day, _ONE)

    def charge(self, exchange: events.Exchange) -> None:
        """Count what all attempts of an exchange took, hedges, too."""
        if (allowed := self._allowances.get(exchange.key_id)) is None:
            return
        tokens = sum(one.usage.prompt_tokens + one.usage.completion_tokens for one in exchange.attempts)
        usd = sum((Decimal(one.cost_usd or 0) for one in exchange.attempts), Decimal(0))
        used = Used(0, tokens, usd)
        with self._lock:
            allowed.take(used, self._now_s())
            self.spending.add(exchange.key_id, _day(self._wall_s()), used)

    def hear(self, usage: events.KeyUsage, partition: int) -> None:
        """What another process tells of a key. Of what is read at the start the minute's buckets know nothing."""
        with self._lock:
            more = self.spending.hear(usage, partition)
            if self.known and (allowed := self._allowances.get(usage.key_id)):
                allowed.take(more, self._now_s())

    def unsaid(self) -> list[events.KeyUsage]:
        """What others are to be told."""
        with self._lock:
            told = self.spending.unsaid()
        now_us = round(self._wall_s() * 1e6)
        for usage in told:
            usage.at.FromMicroseconds(now_us)
        return told

    def say_again(self, usage: events.KeyUsage) -> None:
        """It could not be told."""
        with self._lock:
            self.spending.say_again(usage.key_id, usage.day)

    def drop_old(self) -> list[tuple[str, int]]:
        """Forget earlier months; returns what is to be taken from the topic, each key with its partition."""
        with self._lock:
            return self.spending.drop_before(_day(self._wall_s())[:7])

    def _check_minute(self, allowed: Allowance, now_s: float) -> None:
        holder = allowed.holder
        if allowed.requests and (wait_s := allowed.requests.wait_s(1, now_s)):
            raise _over(holder, "requests_per_minute", f"{holder.requests_per_minute:,} requests a minute", wait_s)
        if allowed.tokens and (wait_s := allowed.tokens.wait_s(0, now_s)):
            raise _over(holder, "tokens_per_minute", f"{holder.tokens_per_minute:,} tokens a minute", wait_s)

    def _check_money(self, holder: Holder, day: str) -> None:
        if not self.known:
            raise KeysUnread(f"quota: what key {holder.id} has spent is not read yet: try again in a moment")
        if (most := holder.usd_per_day) and (spent := self.spending.usd(holder.id, day)) >= most:
            raise _over(
                holder, "usd_per_day", f"${most:f} of {day} (UTC), ${spent:f} being spent", self._to_next_day_s()
            )
        if (most := holder.usd_per_month) and (spent := self.spending.usd(holder.id, day[:7])) >= most:
            said = f"${most:f} of {day[:7]} (UTC), ${spent:f} being spent"
            raise _over(holder, "usd_per_month", said, self._to_next_month_s())

    def _to_next_day_s(self) -> float:
        return DAY_S - self._wall_s() % DAY_S

    def _to_next_month_s(self) -> float:
        now = datetime.fromtimestamp(self._wall_s(), UTC)
        next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        return (next_month - now).total_seconds()


_ONE: Final = Used(requests=1)


def _over(holder: Holder, limit: str, said: str, wait_s: float) -> OverQuota:
    OVER.labels(limit).inc()
    text = f"quota: key {holder.id} has used its {said}; try again in {max(wait_s, 0.1):,.1f} s"
    return OverQuota(f"{text}, or ask for more ({limit})", wait_s)


def _day(wall_s: float) -> str:
    return _day_of(int(wall_s) // DAY_S)


@lru_cache(maxsize=8)
def _day_of(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
