import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import progress, rate_factor


def test_without_a_budget_only_steps_count() -> None:
    assert progress(step=25, steps=100, elapsed_s=1e6, max_minutes=None) == 0.25


def test_a_slow_machine_is_as_far_as_its_clock_says() -> None:
    assert progress(step=10, steps=100, elapsed_s=240, max_minutes=8) == 0.5


def test_a_fast_machine_is_as_far_as_its_steps_say() -> None:
    assert progress(step=80, steps=100, elapsed_s=60, max_minutes=8) == 0.8


def test_an_exceeded_budget_is_the_end_and_no_more() -> None:
    assert progress(step=10, steps=100, elapsed_s=9999, max_minutes=8) == 1.0


def test_the_rate_rises_to_its_peak_and_ends_at_nothing() -> None:
    steps = [rate_factor(step / 100, 0.01, warmup=0.04) for step in range(101)]
    assert steps[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert steps[100] == pytest.approx(0.0)


def test_the_first_step_of_a_run_too_short_for_a_warmup_learns_at_the_peak() -> None:
    assert rate_factor(0.0, 1 / 8, warmup=0.04) == 1.0


def test_the_last_step_learns_too() -> None:
    assert rate_factor(7 / 8, 1 / 8, warmup=0.04) > 0.03


def test_without_a_warmup_the_first_step_learns_at_the_peak() -> None:
    assert rate_factor(0.0, 1e-4, warmup=0.0) == 1.0


@given(st.floats(0.1, 1), st.floats(0.1, 1))
def test_after_the_warmup_the_rate_never_rises(one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert rate_factor(early, 0.01, warmup=0.1) >= rate_factor(late, 0.01, warmup=0.1) >= 0


@given(st.floats(0.1, 1))
def test_a_constant_rate_stays_at_its_peak(share: float) -> None:
    assert rate_factor(share, 0.01, warmup=0.1, shape="constant") == 1.0
