"""What is learned of how long something takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.gateway.hedge_budget import HedgeBudget
from services.gateway.lately import Lately
from services.gateway.pace import GROWTH, HALF_S, LEAST_NOTED, LEAST_S, Pace
from services.gateway.standing import LEAST_STALL_S, STALL_FACTOR, UNLEARNED_STALL_S, Standing, patience_s

DURATIONS = some.lists(some.floats(LEAST_S, 600.0), min_size=LEAST_NOTED, max_size=200)


def a_pace(*durations_s: float, now_s: float = 1.0) -> Pace:
    pace = Pace()
    for took_s in durations_s:
        pace.note(took_s, now_s)
    return pace


@given(DURATIONS, some.sampled_from([0.05, 0.5, 0.95]))
def test_a_quantile_is_told_within_a_bucket(durations_s: list[float], part: float):
    told = a_pace(*durations_s).quantile(part, 1.0)
    assert told is not None
    assert sum(took_s <= told * (1 + 1e-9) for took_s in durations_s) >= part * len(durations_s)
    assert sum(took_s < told / GROWTH * (1 - 1e-9) for took_s in durations_s) < part * len(durations_s)


def test_of_a_few_nothing_is_told():
    assert a_pace(*[0.1] * (LEAST_NOTED - 1)).quantile(0.95, 1.0) is None


@pytest.mark.parametrize("took_s", [0.0, 1e9])
def test_no_duration_is_too_short_or_too_long_to_be_noted(took_s: float):
    assert a_pace(*[took_s] * LEAST_NOTED).quantile(0.5, 1.0) is not None


def test_what_is_older_than_two_minutes_is_forgotten():
    pace = a_pace(*[0.1] * LEAST_NOTED)
    assert pace.quantile(0.5, 1.0 + HALF_S) is not None
    assert pace.quantile(0.5, 1.0 + 2 * HALF_S) is None
    assert a_pace(*[0.1] * LEAST_NOTED).quantile(0.5, 1.0 + 9 * HALF_S) is None


def test_counts_are_of_the_last_one_to_two_halves():
    lately = Lately(1, half_s=10.0)
    for at_s in (0.0, 5.0, 12.0):
        lately.add(0, at_s)
    assert lately.of(0) == 3
    lately.turn(23.0)
    assert lately.of(0) == 1


def test_a_stall_is_what_the_task_says_else_what_is_learned_else_long():
    standing = Standing()
    assert standing.gap_stall_s(0.2, 1.0) == 0.2
    assert standing.gap_stall_s(None, 1.0) == UNLEARNED_STALL_S
    standing.gaps = a_pace(*[0.5] * LEAST_NOTED)
    assert standing.gap_stall_s(None, 1.0) == pytest.approx(1.5, rel=0.1)
    standing.firsts = a_pace(*[0.5] * LEAST_NOTED)
    assert standing.first_stall_s(None, 1.0) == pytest.approx(1.5, rel=0.1)


def test_a_short_silence_is_no_stall_however_quick_the_pieces_usually_come():
    standing = Standing(gaps=a_pace(*[0.001] * LEAST_NOTED))
    assert standing.gap_stall_s(None, 1.0) == LEAST_STALL_S


SECONDS = some.floats(0.001, 600.0)


@given(SECONDS, SECONDS, some.floats(0.0, 1.0), SECONDS)
def test_a_silent_stream_leaves_who_stands_behind_its_part_and_a_flowing_one_its_usual_pause(
    stall_s: float, left_s: float, part: float, gap_s: float
) -> None:
    assert patience_s(stall_s, left_s, part * left_s, 0.0) <= min(stall_s, left_s - part * left_s)
    assert patience_s(stall_s, left_s, part * left_s, gap_s) >= min(stall_s, STALL_FACTOR * gap_s)


@given(SECONDS, SECONDS, some.floats(0.0, 1.0), SECONDS)
def test_one_more_piece_never_ends_a_silence_sooner(
    stall_s: float, left_s: float, passed: float, timeout_s: float
) -> None:
    """So a timer that was set at an earlier piece rings in time."""
    then_s, now_s = left_s, left_s * (1 - passed)
    sooner, later = (patience_s(stall_s, s, min(timeout_s, s * 0.25), 0.0) - s for s in (then_s, now_s))
    assert later >= sooner - 1e-9


def test_where_no_time_is_left_nothing_is_kept():
    assert patience_s(10.0, 0.0, 0.0, 0.1) == patience_s(10.0, -0.5, 0.0, 0.1) == 10.0


def test_who_was_given_too_little_time_is_not_to_blame():
    standing = Standing()
    assert not standing.is_fair(0.5, 30.0, 1.0)
    assert standing.is_fair(1.0, 30.0, 1.0)
    assert standing.is_fair(0.2, 0.2, 1.0)  # All that the task ever gives it.
    standing.answers = a_pace(*[3.0] * LEAST_NOTED)
    assert not standing.is_fair(1.0, 30.0, 1.0)


@given(some.lists(some.booleans(), max_size=300), some.floats(0.01, 1.0))
def test_hedges_never_are_more_than_their_part_of_the_calls(wanted: list[bool], most: float):
    budget, taken = HedgeBudget(), 0
    for calls, wants in enumerate(wanted, start=1):
        budget.called(1.0)
        taken += wants and budget.take(most, 1.0)
        assert taken <= most * calls


def test_a_budget_that_was_not_used_is_not_saved_up():
    budget = HedgeBudget()
    for _ in range(100):
        budget.called(0.0)
    assert budget.take(0.05, 0.0)
    assert not budget.take(0.05, 100.0)
