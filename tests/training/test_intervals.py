import numpy as np
import pytest

from training import intervals

ROUNDS = 400


def test_the_sum_of_two_means_lies_within_its_interval_about_as_often_as_it_should() -> None:
    draw = np.random.default_rng(5)
    found = [intervals.amount(draw.normal(30, 9, 40), draw.exponential(5, 200)) for _ in range(ROUNDS)]
    held = sum(one.low is not None and one.high is not None and one.low <= 35 <= one.high for one in found)
    assert 0.92 * ROUNDS < held < 0.99 * ROUNDS


def test_a_sample_of_one_has_a_mean_and_no_bounds_and_none_falls_below_0() -> None:
    assert intervals.amount([3.0], [1.0, 2.0]).model_dump() == {"value": 4.5, "low": None, "high": None}
    assert intervals.amount([0.0, 0.0, 9.0]).low == 0
    assert intervals.amount([2.0, 2.0], []).model_dump() == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert intervals.amount().value == pytest.approx(0)
