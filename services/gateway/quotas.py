"""How much a key may use: requests and tokens a minute, dollars a day and a month, in all gateways together.

A request is counted as it comes; tokens and dollars are known only after the answer, with those of every attempt. So a
call is let in if the most that it may take (services.gateway.reserves) fits into what is left beside those that are
under way. What other gateways let in is taken from the same buckets as soon as they tell, within two seconds. Answers
that nobody sees (services.gateway.shadow) are not the caller's to pay.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import Final

from protos import events_pb2 as events
from services.gateway.allowances import Allowance, Budget, OverQuota
from services.gateway.keys import Holder, KeysUnread, NotAllowed
from services.gateway.reserves import Amount, Reserve
from services.gateway.spending import Spending, Used
from services.tasks import Task

DAY_S: Final = 86_400
Charge = Callable[[], None]
"""To be called once, as an exchange ends."""


class Quotas:
    """Lets calls in and counts them. For any thread. Keys that never had a limit are not counted."""

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
        if not holder.limited and holder.id not in self._allowances:
            return
        now_s, day = self._now_s(), _day(self._wall_s())
        with self._lock:
            allowed = self._allowances.get(holder.id)
            if allowed is None or allowed.holder is not holder:  # A key that changed has another holder.
                allowed = self._allowances[holder.id] = Allowance.of(holder, allowed, now_s)
            allowed.check_minute(now_s)
            self._check_known(holder)
            for budget in self._budgets(holder):
                allowed.check_budget(budget)
            if allowed.counted:
                allowed.counted -= 1
            else:
                allowed.take(_ONE, now_s)
                self.spending.add(holder.id, day, _ONE)

    def reserve(self, exchange: events.Exchange, task: Task) -> Charge:
        """Keep free what an exchange that begins may take; the charge counts what it took.

        Raises OverQuota, or NotAllowed where a whole budget does not do.
        """
        if (allowed := self._allowances.get(exchange.key_id)) is None:
            return _nothing
        amount, reserve = allowed.most(task, exchange.request), allowed.reserve
        with self._lock:
            try:
                allowed.check_tokens(amount, self._now_s())
                for budget in self._budgets(allowed.holder):
                    allowed.check_dollars(amount, budget)
            except (OverQuota, NotAllowed):
                allowed.counted += 1
                raise
            reserve.keep(amount)
        return partial(self._charge, exchange, reserve, amount)

    def _charge(self, exchange: events.Exchange, reserve: Reserve, amount: Amount) -> None:
        """Count what all attempts of an exchange took, hedges, too, in the place of what was kept free."""
        tokens = sum(one.usage.prompt_tokens + one.usage.completion_tokens for one in exchange.attempts)
        usd = sum((Decimal(one.cost_usd or 0) for one in exchange.attempts), Decimal(0))
        used = Used(0, tokens, usd)
        with self._lock:
            reserve.free(amount)
            self._allowances[exchange.key_id].take(used, self._now_s())
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

    def _check_known(self, holder: Holder) -> None:
        if not self.known and (holder.usd_per_day or holder.usd_per_month):
            raise KeysUnread(f"quota: what key {holder.id} has spent is not read yet: try again in a moment")

    def _budgets(self, holder: Holder) -> Iterator[Budget]:
        """Those that the key has."""
        day = _day(self._wall_s())
        if most := holder.usd_per_day:
            yield Budget("usd_per_day", most, day, self._spent_usd(holder, day), self._to_next_day_s())
        if most := holder.usd_per_month:
            month, renewed_s = day[:7], self._to_next_month_s()
            yield Budget("usd_per_month", most, month, self._spent_usd(holder, month), renewed_s)

    def _spent_usd(self, holder: Holder, period: str) -> Decimal:
        return self.spending.usd(holder.id, period) - holder.credited_usd(period)

    def _to_next_day_s(self) -> float:
        return DAY_S - self._wall_s() % DAY_S

    def _to_next_month_s(self) -> float:
        now = datetime.fromtimestamp(self._wall_s(), UTC)
        next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        return (next_month - now).total_seconds()


_ONE: Final = Used(requests=1)


def _nothing() -> None:
    """Of a key without limits."""


def _day(wall_s: float) -> str:
    return _day_of(int(wall_s) // DAY_S)


@lru_cache(maxsize=8)
def _day_of(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
