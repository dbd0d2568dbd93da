"""How much a key may use, and what a refusal says."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import reserves
from services.gateway.allowances import SOON_S, OverQuota
from services.gateway.keys import Holder, KeysUnread, NotAllowed
from services.gateway.quotas import Quotas
from services.tasks import Task
from tests.services.gateway.examples import FREE, a_request, a_task

COSTS_NOTHING = a_task(**FREE)
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
        self.begin()(events.Attempt(usage=usage, cost_usd=usd, **attempt))

    def begin(self, task: Task | None = None, **request: Any) -> Callable[[events.Attempt], None]:
        """A call; it ends with the attempt that is given."""
        if "ann" not in self.quotas._allowances:
            self.quotas.admit(self.holder)
        exchange = events.Exchange(key_id="ann", request=a_request(**request))
        charge = self.quotas.reserve(exchange, task or COSTS_NOTHING)

        def end(attempt: events.Attempt) -> None:
            exchange.attempts.append(attempt)
            charge()

        return end

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
    desk.now += timedelta(seconds=70)
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


def spends(usd: str, tokens: int = 0) -> events.Attempt:
    return events.Attempt(usage=inference.Usage(prompt_tokens=tokens), cost_usd=usd)


TASK = a_task()
A_MOST = reserves.most(TASK, a_request()).usd
"""Dollars that one call of the task may take."""


def test_calls_at_once_are_let_in_while_the_most_that_they_may_cost_fits() -> None:
    desk = Desk(usd_per_day=f"{A_MOST * 5 / 2:f}")
    ends = [desk.begin(TASK), desk.begin(TASK)]
    with pytest.raises(OverQuota) as refused:
        desk.begin(TASK)
    assert refused.value.retry_after_s == SOON_S
    two, one = f"${(A_MOST * 2).normalize():f}", f"${A_MOST.normalize():f}"
    said = f"(UTC): calls under way may take {two}, and this one {one}; set max_tokens lower, try again in 1.0 s"
    assert said in str(refused.value)
    ends.pop()(spends("0.001"))
    desk.begin(TASK)


def test_a_call_that_what_is_left_can_never_pay_waits_for_the_next_day() -> None:
    desk = Desk(usd_per_day=f"{A_MOST:f}")
    desk.begin(TASK)(spends("0.001"))
    with pytest.raises(OverQuota, match=r"\(usd_per_day\)") as refused:
        desk.begin(TASK)
    assert refused.value.retry_after_s == 3600
    desk.begin(TASK, sampling=inference.Sampling(max_tokens=1))


@pytest.mark.parametrize("limit", ["usd_per_day", "usd_per_month"])
def test_a_call_that_may_cost_more_than_a_whole_budget_is_told_not_to_come_again(limit: str) -> None:
    desk = Desk(**{limit: f"{A_MOST / 2:f}"})
    with pytest.raises(NotAllowed) as refused:
        desk.begin(TASK)
    budget, most = f"${(A_MOST / 2).normalize():f}", f"${A_MOST.normalize():f}"
    assert str(refused.value) == (
        f"quota: key ann may spend {budget} of a {limit.removeprefix('usd_per_')}, and this call may take {most}: set "
        f"max_tokens lower, or ask for more ({limit})"
    )
    desk.holder = replace(desk.holder, credits_usd={"2026-11-30": A_MOST})
    desk.quotas.admit(desk.holder)
    desk.begin(TASK)


def test_a_call_that_waits_for_those_under_way_uses_up_one_request_however_often_it_comes() -> None:
    desk = Desk(usd_per_day=f"{A_MOST:f}", requests_per_minute=2)
    end = desk.begin(TASK)
    for _ in range(10):
        desk.quotas.admit(desk.holder)
        with pytest.raises(OverQuota, match=r"\(usd_per_day\)"):
            desk.begin(TASK)
    end(spends("0"))
    desk.quotas.admit(desk.holder)
    desk.begin(TASK)
    assert "(requests_per_minute)" in str(desk.refusal())
    assert [told.requests for told in desk.quotas.unsaid()] == [2]


def test_the_minutes_tokens_are_kept_free_for_calls_under_way() -> None:
    desk = Desk(tokens_per_minute=150)  # Each may write 50, and reads a few.
    ends = [desk.begin(), desk.begin()]
    with pytest.raises(OverQuota, match=r"\(tokens_per_minute\)") as refused:
        desk.begin()
    assert refused.value.retry_after_s == SOON_S
    for end in ends:
        end(spends("0", tokens=10))
    desk.begin()


def test_who_asks_for_more_than_a_minutes_tokens_is_let_in_alone() -> None:
    desk = Desk(tokens_per_minute=30)
    end = desk.begin()
    with pytest.raises(OverQuota):
        desk.begin()
    end(spends("0", tokens=10))
    with pytest.raises(OverQuota) as refused:
        desk.begin()
    assert refused.value.retry_after_s == pytest.approx(20.0)
    desk.now += timedelta(seconds=20)
    desk.begin()


def test_a_key_whose_limits_change_keeps_free_what_its_calls_may_take() -> None:
    desk = Desk(usd_per_day=f"{A_MOST:f}")
    end = desk.begin(TASK)
    desk.holder = Holder("ann", usd_per_day=A_MOST * 3 / 2)
    desk.quotas.admit(desk.holder)
    with pytest.raises(OverQuota):
        desk.begin(TASK)
    end(spends("0"))
    desk.begin(TASK)


def test_a_key_whose_limits_are_taken_away_has_none_and_its_open_calls_end() -> None:
    desk = Desk(usd_per_day=f"{A_MOST:f}", requests_per_minute=1)
    end = desk.begin(TASK)
    desk.holder = Holder("ann")
    for _ in range(3):
        desk.quotas.admit(desk.holder)
        desk.begin(TASK)(spends(f"{A_MOST:f}"))
    end(spends("0"))
    assert desk.quotas._allowances["ann"].reserve.usd == 0


STEPS = st.tuples(st.booleans(), st.sampled_from(["1", "1", "0.1", "0"]), st.sampled_from([0, 0, 0, 5]))
"""Whether one begins, or else one ends, with which part of the most that it may cost; and how many hours pass."""


@given(st.integers(1, 8), st.integers(1, 12), st.lists(STEPS, min_size=10, max_size=40), st.randoms())
def test_whatever_begins_and_ends_in_whatever_order_no_budget_is_overdrawn(
    day: int, month: int, steps: list[tuple[bool, str, int]], random: Random
) -> None:
    desk = Desk(usd_per_day=f"{A_MOST * day / 2:f}", usd_per_month=f"{A_MOST * month / 2:f}", tokens_per_minute=500)
    desk.now, spending = datetime(2026, 11, 1, tzinfo=UTC), desk.quotas.spending
    ends: list[Callable[[events.Attempt], None]] = []
    for begins, part, hours in steps:
        desk.now += timedelta(hours=hours)
        if begins or not ends:
            with suppress(OverQuota, NotAllowed):
                desk.quotas.admit(desk.holder)
                ends.append(desk.begin(TASK))
        else:
            ends.pop(random.randrange(len(ends)))(spends(f"{A_MOST * Decimal(part):f}", tokens=20))
        assert spending.usd("ann", f"{desk.now:%Y-%m-%d}") <= desk.holder.usd_per_day
        assert spending.usd("ann", f"{desk.now:%Y-%m}") <= desk.holder.usd_per_month
    for end in ends:
        end(spends("0"))
    reserve = desk.quotas._allowances["ann"].reserve
    assert (reserve.usd, reserve.tokens) == (0, 0)


def test_a_key_whose_minute_stays_as_it_is_has_used_of_it_what_it_has() -> None:
    desk = Desk(requests_per_minute=1)
    desk.call()
    desk.holder = replace(desk.holder, credits_usd={"2026-11-30": Decimal(1)})
    desk.refusal()


def test_a_credit_is_taken_off_what_was_spent_in_its_day_and_month() -> None:
    desk = Desk(usd_per_day="1", usd_per_month="2")
    desk.call(usd="1.5")
    assert "(usd_per_day)" in str(desk.refusal())
    desk.holder = replace(desk.holder, credits_usd={"2026-11-30": Decimal("0.75"), "2026-11-29": Decimal("0.25")})
    desk.call(usd="0.5")
    assert "(usd_per_day)" in str(desk.refusal())
    assert desk.quotas._spent_usd(desk.holder, "2026-11") == 1
