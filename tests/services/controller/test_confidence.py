"""Confidence sequences: what they cover, what order and looks do to them, and where they end."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from services.controller.confidence import BETS, BLOCK, Sample, gains, log_weight, mixed

LEVEL = 0.05
THREE = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=120)


@pytest.mark.parametrize("chances", [(0.05, 0.9, 0.05), (0.0, 0.95, 0.05), (0.3, 0.2, 0.5), (0.01, 0.99, 0.0)])
def test_the_mean_is_never_above_the_upper_end_but_for_its_level(chances: tuple[float, float, float]) -> None:
    """Whether the true mean is ever refuted, in 2,000 streams looked at after each of 1,000 values."""
    streams, length = 2_000, 1_000
    values = np.array([-1.0, 0.0, 1.0])
    mean = float(values @ chances)
    drawn = np.random.default_rng(3).choice(3, size=(streams, length), p=chances)
    factors = np.exp(gains(values, mean, 1.0))
    money, most = np.ones((streams, len(BETS))), np.zeros(streams)
    for step in range(length):
        money *= factors[drawn[:, step]]
        most = np.maximum(most, money.mean(axis=1))
    luck = float(stats.binom.ppf(0.9999, streams, LEVEL)) / streams
    assert (most >= 1 / LEVEL).mean() <= luck


def test_the_ends_are_where_the_evidence_is_just_enough() -> None:
    sample = Sample.of([-1, 0, 0, 1] * 50, -1, 1)
    enough = -math.log(LEVEL)
    assert sample.log_below(sample.upper(LEVEL) + 1e-3) > enough > sample.log_below(sample.upper(LEVEL) - 1e-3)
    assert sample.lower(LEVEL) == pytest.approx(-sample.upper(LEVEL), abs=2e-4), "it is the same upside down"


def test_it_narrows_around_the_mean() -> None:
    widths = []
    for n in (50, 500, 5_000):
        sample = Sample.of([1, 0, 0, 0] * n, 0, 1)
        assert sample.lower(LEVEL) < 0.25 < sample.upper(LEVEL)
        widths.append(sample.upper(LEVEL) - sample.lower(LEVEL))
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.025


def test_of_nothing_nothing_is_known() -> None:
    nothing = Sample.of([], -1, 1)
    assert (nothing.n, nothing.lower(LEVEL), nothing.upper(LEVEL)) == (0, -1, 1)
    assert nothing.log_above_lately(0.1) == 0
    assert math.isnan(nothing.mean)


def test_values_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="from -1 to 1, not 0 to 2"):
        Sample.of([0, 2], -1, 1)
    with pytest.raises(ValueError, match="from -1 to 1"):
        Sample.of([math.nan], -1, 1)


@given(THREE, st.randoms())
def test_order_does_not_matter(values: list[float], chance: random.Random) -> None:
    mixed_up = list(values)
    chance.shuffle(mixed_up)
    assert Sample.of(mixed_up, -1, 1).log_below(0.1) == pytest.approx(Sample.of(values, -1, 1).log_below(0.1))


@settings(max_examples=50)
@given(THREE, st.floats(-0.9, 0.9), st.floats(0.01, 0.09))
def test_a_higher_bound_is_refuted_no_sooner(values: list[float], bound: float, more: float) -> None:
    sample = Sample.of(values, -1, 1)
    assert sample.log_below(bound) <= sample.log_below(bound + more) + 1e-9
    assert sample.log_above_lately(bound) >= sample.log_above_lately(bound + more) - 1e-9


def test_what_rose_lately_is_seen_although_all_together_looks_well() -> None:
    sample = Sample.of([-1, 0] * 200 + [1] * 40, -1, 1)
    assert sample.log_above(0.02) < 0
    assert sample.log_above_lately(0.02) > -math.log(LEVEL)


@given(THREE)
def test_the_search_for_changes_is_the_mean_over_all_beginnings(values: list[float]) -> None:
    """By its definition: each block may be the first after the change, with its weight."""
    sample = Sample.of(values, -1, 1)
    begins = range(0, len(values), BLOCK)
    parts = [
        mixed(sum((gains(np.array([-v]), -0.1, 1.0)[0] for v in values[begin:]), np.zeros(len(BETS))))
        + log_weight(begin // BLOCK)
        for begin in begins
    ]
    expected = float(np.logaddexp.reduce(parts)) if parts else 0.0
    assert sample.log_above_lately(0.1) == pytest.approx(expected, abs=1e-9)


def test_the_weights_of_all_beginnings_add_up_to_one() -> None:
    assert sum(math.exp(log_weight(block)) for block in range(100_000)) == pytest.approx(1, abs=1e-4)
