import numpy as np
import pytest

from benchmarks import quality_figures as figures
from training.scoring import Flags


def wrong(count: int, of: int = 200) -> Flags:
    return np.arange(of) < count


def test_an_error_has_an_interval_around_it() -> None:
    found = figures.error([wrong(20)])
    (error, low, high) = found["mean"]
    assert error == 10.0
    assert low < error < high
    assert found["seeds"] == [found["mean"]]


def test_three_equal_seeds_are_no_more_examples_than_one() -> None:
    once, thrice = figures.error([wrong(20)])["mean"], figures.error([wrong(20)] * 3)["mean"]
    assert thrice[0] == once[0]
    assert thrice[2] - thrice[1] == pytest.approx(once[2] - once[1], abs=1)


def test_the_mean_is_over_the_seeds() -> None:
    found = figures.error([wrong(20), wrong(40)])
    assert found["mean"][0] == 15.0
    assert [seed[0] for seed in found["seeds"]] == [10.0, 20.0]


def test_a_difference_is_paired() -> None:
    """Of two that err on the same examples, but for a few, the difference is surer than the errors are."""
    point, low, high = figures.difference([wrong(90)], [wrong(100)])
    assert (point, high < 0) == (-5.0, True)
    assert high - low < figures.error([wrong(90)])["mean"][2] - figures.error([wrong(90)])["mean"][1]


def test_one_who_learns_nothing_stands_beside_all_seeds() -> None:
    assert figures.difference([wrong(10), wrong(30)], [wrong(40)])[0] == -10.0


def test_one_who_was_asked_less_is_compared_on_what_it_was_asked() -> None:
    assert figures.difference([wrong(10, of=200)], [wrong(40, of=100)])[0] == -30.0


def test_the_best_of_the_others_is_what_the_student_has_to_reach() -> None:
    found = figures.figures({"good": [wrong(20)], "bad": [wrong(90)], figures.STUDENT: [wrong(30)]})
    assert found["best_baseline"] == "good"
    assert found["student_minus"]["good"][0] == 5.0
    (goal,) = figures.goals({"task": found}).values()
    assert goal == {"goal": "<= 10", "measured": 15.0, "met": False}


def test_one_who_was_fitted_on_the_golden_examples_is_a_goal_of_its_own() -> None:
    wrongs = {"knows": [wrong(0)], "fair": [wrong(40)], figures.STUDENT: [wrong(30)]}
    found = figures.figures(wrongs, informed=["knows"])
    assert found["best_baseline"] == "fair"
    goals = figures.goals({"task": found})
    assert {name: goal["met"] for name, goal in goals.items()} == {
        "task: no worse than fair": True,
        "task: no worse than knows": False,
    }
