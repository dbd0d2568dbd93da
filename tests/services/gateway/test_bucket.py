"""A minute's worth at once, then as it drips, and debts are waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.bucket import Bucket


def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    bucket = Bucket(60, 0.0)
    for _ in range(60):
        assert bucket.wait_s(1, 0.0) == 0
        bucket.take(1, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1.0)
    assert bucket.wait_s(1, 0.75) == pytest.approx(0.25)
    assert bucket.wait_s(1, 1.0) == pytest.approx(0, abs=1e-9)


def test_what_was_overdrawn_is_waited_for() -> None:
    bucket = Bucket(600, 0.0)
    bucket.take(1_600, 0.0)
    assert bucket.wait_s(0, 0.0) == pytest.approx(100.0)
    assert bucket.wait_s(0, 99.0) == pytest.approx(1.0)
    assert bucket.wait_s(0, 100.1) == 0


def test_no_more_than_a_minutes_worth_is_saved_up() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60, 1_000.0)
    assert bucket.wait_s(1, 1_000.0) == pytest.approx(1.0)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    bucket = Bucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.wait_s(1, 50.0) == pytest.approx(1.0)


@given(
    per_minute=st.integers(1, 10_000),
    calls=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5_000)), min_size=1, max_size=40),
)
def test_over_any_time_what_is_let_in_is_a_burst_and_the_rate_and_one_overdraft(
    per_minute: int, calls: list[tuple[float, int]]
) -> None:
    bucket, now_s, taken, last = Bucket(per_minute, 0.0), 0.0, 0, 0
    for pause_s, amount in calls:
        now_s += pause_s
        if bucket.wait_s(0, now_s) == 0:
            bucket.take(amount, now_s)
            taken, last = taken + amount, amount
    assert taken - last <= per_minute * (1 + now_s / 60) + 1e-6
