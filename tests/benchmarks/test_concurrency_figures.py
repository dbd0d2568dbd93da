from typing import Any

import pytest

from benchmarks.concurrency_figures import Memory, goals, lost, slope


def test_memory_per_call_is_what_was_taken_at_most() -> None:
    found = Memory(before=100_000_000, peak=450_000_000, after=135_000_000).figures(calls=10_000)
    assert found["kb_per_call"] == 35.0
    assert found["given_back"] == 0.9


def test_where_nothing_was_taken_all_is_given_back() -> None:
    assert Memory(before=5, peak=5, after=5).figures(calls=1)["given_back"] == 1.0


@pytest.mark.parametrize(
    ("heard", "answered", "refused", "gone"),
    [
        (10, 10, 0, 0),
        (10, 7, 3, 0),  # Refused with a status is not lost.
        (9, 10, 0, 1),  # Its caller never heard the end.
        (10, 9, 0, 1),  # Its answer is not on Kafka.
        (10, 11, 0, 0),  # One more was kept than heard.
        (8, 7, 0, 3),
    ],
)
def test_a_call_is_lost_without_an_end_or_with_one_that_is_not_accounted_for(
    heard: int, answered: int, refused: int, gone: int
) -> None:
    assert lost(10, heard, answered, refused) == gone


def test_the_slope_is_that_of_a_straight_line_and_forgets_the_warmth() -> None:
    warm = [(float(second), 50.0 * second) for second in range(20)]
    steady = [(float(second), 1_000.0 + 3.0 * second) for second in range(20, 100)]
    assert slope([*warm, *steady]) == pytest.approx(3.0)


def figures(**given: Any) -> dict[str, Any]:
    memory = {"kb_per_call": 30.0, "given_back": 0.95}
    return {"open_at_most": 100, "memory": memory, "lost": 0, "calls_per_s": 5_000.0, **given}


def test_all_goals_are_met_by_figures_that_are_good_enough() -> None:
    wanted = goals(figures(open_at_most=20_000), figures(), 20_000, {"bytes_per_call": 3.0, "lost": 0})
    assert len(wanted) == 8
    assert all(goal["met"] for goal in wanted.values())


def test_calls_that_were_never_open_together_are_told() -> None:
    wanted = goals(figures(open_at_most=99), figures(calls_per_s=3_999), 100, None)
    unmet = {name for name, goal in wanted.items() if not goal["met"]}
    assert unmet == {"calls open at once", "calls of the burst a second"}


def test_of_few_calls_nobody_says_what_share_of_their_memory_is_free_again() -> None:
    few, many = (goals(figures(), figures(), calls, None) for calls in (19_999, 20_000))
    assert many.keys() - few.keys() == {"share of the memory that is free again"}
