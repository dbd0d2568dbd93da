"""How much a key may use, and what a refusal says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.keys import Holder, KeysUnread
from services.gateway.quotas import OverQuota, Quotas

EVENING = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)


class Desk:
    """Quotas whose clocks are set by hand."""

    def __init__(self, **limits: Any) -> None:
        self.now = EVENING
        self.holder = Holder("ann", **{name: Decimal(most) if "usd" in name else most for name, most in limits.items()})
        self.quotas = Quotas("own", self._now_s, self._now_s)
        self.quotas.known = True

    def _now_s(self) -> float:
        return self.now.timestamp()

    def call(self, tokens: int = 0, usd: str = "0", **attempt: Any) -> None:
        self.quotas.admit(self.holder)
        self.charge(tokens, usd, **attempt)

    def charge(self, tokens: int = 0, usd: str = "0", **attempt: Any) -> None:
        usage = inference.Usage(prompt_tokens=tokens // 2, completion_tokens=tokens - tokens // 2)
        attempts = [events.Attempt(usage=usage, cost_usd=usd, **attempt)]
        self.quotas.charge(events.Exchange(key_id="ann", attempts=attempts))

    def refusal(self) -> OverQuota:
        with pytest.raises(OverQuota) as refused:
            self.quotas.admit(self.holder)
        return refused.value


def test_a_key_without_limits_is_not_counted() -> None:
    desk = Desk()
    for _ in range(1_000):
        desk.call(tokens=10**6, usd="100")
    assert desk.quotas.unsaid() == []


def test_requests_above_the_minutes_number_wait() -> None:
    desk = Desk(requests_per_minute=2)
    desk.call()
    desk.call()
    refused = desk.refusal()
    assert refused.retry_after_s == pytest.approx(30.0)
    assert str(refused) == (
        "quota: key ann has used its 2 requests a minute; try again in 30.0 s, or ask for more (requests_per_minute)"
    )
    desk.now += timedelta(seconds=31)
    desk.call()


def test_a_refused_call_costs_nothing() -> None:
    desk = Desk(requests_per_minute=1)
    desk.call()
    for _ in range(100):
        desk.refusal()
    desk.now += timedelta(seconds=61)
    desk.call()


def test_tokens_are_known_afterwards_so_the_next_call_waits() -> None:
    desk = Desk(tokens_per_minute=600)
    desk.call(tokens=1_200)
    assert desk.refusal().retry_after_s == pytest.approx(60.0)
    desk.now += timedelta(seconds=61)
    desk.call()


def test_what_all_attempts_cost_counts_also_shadows() -> None:
    desk = Desk(usd_per_day="1")
    desk.call(usd="0.6")
    desk.call(usd="0.5", shadow=True)
    refused = desk.refusal()
    assert refused.retry_after_s == 3600
    assert str(refused) == (
        "quota: key ann has used its $1 of 2026-11-30 (UTC), $1.1 being spent; try again in 3,600.0 s, or ask for more "
        "(usd_per_day)"
    )


def test_a_new_day_is_a_new_budget_and_the_month_goes_on() -> None:
    desk = Desk(usd_per_day="1", usd_per_month="2")
    desk.now -= timedelta(days=1)
    desk.call(usd="1.5")
    desk.refusal()
    desk.now += timedelta(days=1)
    desk.call(usd="0.5")
    assert "(usd_per_month)" in str(desk.refusal())
    assert desk.refusal().retry_after_s == 3600
    desk.now += timedelta(hours=2)
    desk.call()


@pytest.mark.parametrize(("month", "wait_days"), [(2, 28), (12, 31)])
def test_a_month_ends_when_it_ends(month: int, wait_days: int) -> None:
    desk = Desk(usd_per_month="1")
    desk.now = datetime(2026, month, 1, tzinfo=UTC)
    desk.call(usd="1")
    assert desk.refusal().retry_after_s == wait_days * 86_400


def usage(requests: int, usd: str) -> events.KeyUsage:
    return events.KeyUsage(key_id="ann", source="other", day="2026-11-30", requests=requests, cost_usd=usd)


def test_what_other_gateways_let_in_counts_here() -> None:
    desk = Desk(usd_per_day="1", requests_per_minute=10)
    desk.call()
    desk.quotas.hear(usage(9, "0.1"), 0)
    assert "(requests_per_minute)" in str(desk.refusal())
    desk.now += timedelta(seconds=60)
    desk.quotas.hear(usage(9, "1.0"), 0)
    assert "(usd_per_day)" in str(desk.refusal())


def test_what_was_used_before_the_start_counts_for_the_day_but_not_for_the_minute() -> None:
    desk = Desk(usd_per_day="1", requests_per_minute=10)
    desk.quotas.known = False
    with pytest.raises(KeysUnread, match="what key ann has spent is not read yet"):
        desk.quotas.admit(desk.holder)
    desk.quotas.hear(usage(9, "0.9"), 0)
    desk.quotas.known = True
    for _ in range(5):
        desk.call()
    desk.charge(usd="0.1")
    assert "(usd_per_day)" in str(desk.refusal())


def test_a_key_without_a_budget_need_not_wait_for_what_was_spent() -> None:
    desk = Desk(requests_per_minute=1)
    desk.quotas.known = False
    desk.call()


def test_others_are_told_what_was_used_here() -> None:
    desk = Desk(usd_per_day="1")
    desk.call(tokens=7, usd="0.25")
    [told] = desk.quotas.unsaid()
    assert (told.key_id, told.source, told.day, told.requests, told.tokens) == ("ann", "own", "2026-11-30", 1, 7)
    assert (told.cost_usd, told.at.ToDatetime(tzinfo=UTC)) == ("0.25", EVENING)


def test_a_key_whose_limits_change_has_the_new_ones_at_once() -> None:
    desk = Desk(requests_per_minute=1)
    desk.call()
    desk.refusal()
    desk.holder = Holder("ann", requests_per_minute=100)
    desk.call()
