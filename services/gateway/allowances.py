"""What is left to a key, and what a caller hears who asks for more. Pure: times and what was spent are handed in."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from prometheus_client import Counter

from protos import inference_pb2 as inference
from services.gateway.bucket import Bucket
from services.gateway.keys import Holder, NotAllowed
from services.gateway.reserves import NOTHING, Amount, Reserve, most
from services.gateway.spending import Used
from services.tasks import Task

OVER: Final = Counter("tutelage_quota_refusals_total", "Calls refused because a key has used what it may.", ("limit",))
SOON_S: Final = 1.0
"""When to come again where calls that are under way keep the room: they last seconds, and mostly take less."""


class OverQuota(Exception):  # noqa: N818
    """The key has used what it may; `retry_after_s` says when there is room again."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Budget:
    """Dollars of a day or a month, what of them is spent, and when there are others."""

    limit: str
    usd: Decimal
    period: str
    spent_usd: Decimal
    renewed_s: float


@dataclass(slots=True)
class Allowance:
    """What is left to a key: of this minute, None where there is no limit, and beside what calls under way may take."""

    holder: Holder
    requests: Bucket | None
    tokens: Bucket | None
    reserve: Reserve
    counted: int = 0
    """Requests that were counted and then refused: as many that come again are not counted anew."""

    @classmethod
    def of(cls, holder: Holder, before: "Allowance | None", now_s: float) -> "Allowance":
        """That of a key of which nothing was used lately, or that has changed: other limits begin anew."""
        requests, tokens = holder.requests_per_minute, holder.tokens_per_minute
        if before and (before.holder.requests_per_minute, before.holder.tokens_per_minute) == (requests, tokens):
            return replace(before, holder=holder)
        minute = Bucket(requests, now_s) if requests else None, Bucket(tokens, now_s) if tokens else None
        return cls(holder, *minute, before.reserve if before else Reserve())

    def take(self, used: Used, now_s: float) -> None:
        """Charge the minute's buckets."""
        if self.requests:
            self.requests.take(used.requests, now_s)
        if self.tokens:
            self.tokens.take(used.tokens, now_s)

    def most(self, task: Task, request: inference.Request) -> Amount:
        """What is to be kept free for a call."""
        holder = self.holder
        counts = holder.tokens_per_minute or holder.usd_per_day or holder.usd_per_month
        return most(task, request) if counts else NOTHING

    def check_minute(self, now_s: float) -> None:
        """Raise OverQuota where the minute's requests or tokens are used."""
        holder = self.holder
        if self.requests and not self.counted and (wait_s := self.requests.wait_s(1, now_s)):
            raise self._over("requests_per_minute", f"{holder.requests_per_minute:,} requests a minute", wait_s)
        if self.tokens and (wait_s := self.tokens.wait_s(0, now_s)):
            raise self._over("tokens_per_minute", f"{holder.tokens_per_minute:,} tokens a minute", wait_s)

    def check_budget(self, budget: Budget) -> None:
        """Raise OverQuota where it is spent."""
        if budget.spent_usd >= budget.usd:
            said = f"${budget.usd:f} of {budget.period} (UTC), ${budget.spent_usd:f} being spent"
            raise self._over(budget.limit, said, budget.renewed_s)

    def check_tokens(self, amount: Amount, now_s: float) -> None:
        """Raise OverQuota where a call does not fit into the minute. Who asks for more than a minute's is let in alone,
        as soon as none of it is used."""
        if self.tokens is None:
            return
        most, kept = self.holder.tokens_per_minute, self.reserve.tokens
        alone = min(amount.tokens, most)
        if self.tokens.wait_s(kept + amount.tokens if kept else alone, now_s):
            wait_s = self.tokens.wait_s(alone, now_s) or SOON_S
            said = f"not so many left of its {most:,} tokens a minute"
            raise self._no_room("tokens_per_minute", said, f"{kept:,}", f"{amount.tokens:,}", wait_s)

    def check_dollars(self, amount: Amount, budget: Budget) -> None:
        """Raise OverQuota where a call does not fit into what is left of a budget; NotAllowed where it never will."""
        left_usd, kept_usd = budget.usd - budget.spent_usd, self.reserve.usd
        if amount.usd > max(left_usd, budget.usd):
            raise self._never(budget, amount)
        if kept_usd + amount.usd > left_usd:
            wait_s = SOON_S if amount.usd <= left_usd else budget.renewed_s
            said = f"{_usd(left_usd)} left of its {_usd(budget.usd)} of {budget.period} (UTC)"
            raise self._no_room(budget.limit, said, _usd(kept_usd), _usd(amount.usd), wait_s)

    def _over(self, limit: str, said: str, wait_s: float) -> OverQuota:
        OVER.labels(limit).inc()
        text = f"quota: key {self.holder.id} has used its {said}; try again in {max(wait_s, 0.1):,.1f} s"
        return OverQuota(f"{text}, or ask for more ({limit})", wait_s)

    def _never(self, budget: Budget, amount: Amount) -> NotAllowed:
        OVER.labels(budget.limit).inc()
        whole = f"{_usd(budget.usd)} of a {budget.limit.removeprefix('usd_per_')}"
        text = f"quota: key {self.holder.id} may spend {whole}, and this call may take {_usd(amount.usd)}"
        return NotAllowed(f"{text}: set max_tokens lower, or ask for more ({budget.limit})")

    def _no_room(self, limit: str, said: str, kept: str, amount: str, wait_s: float) -> OverQuota:
        OVER.labels(limit).inc()
        text = f"quota: key {self.holder.id} has {said}: calls under way may take {kept}, and this one {amount}; set"
        return OverQuota(f"{text} max_tokens lower, try again in {wait_s:,.1f} s, or ask for more ({limit})", wait_s)


def _usd(usd: Decimal) -> str:
    return f"${usd.normalize():f}"
