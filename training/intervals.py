"""Intervals of means; pure."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.contract import Amount, Difference


def mean_interval(differences: Sequence[float] | NDArray[np.float64]) -> Difference:
    """The mean with its 95 % interval by Student's t; of one value alone nothing is known."""
    values = np.asarray(differences, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Difference(difference=mean, low=-math.inf, high=math.inf)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Difference(difference=mean, low=mean - reach, high=mean + reach)


def amount(*parts: Sequence[float] | NDArray[np.float64]) -> Amount:
    """The sum of the means of independent samples, with its 95 % interval by Student's t; never below 0.

    It has the degrees of freedom of the smallest sample, which is wider than need be.
    """
    samples = [np.asarray(part, dtype=float) for part in parts if len(part)]
    mean = float(sum(sample.mean() for sample in samples))
    least = min((len(sample) for sample in samples), default=0)
    if least < 2:
        return Amount(value=mean)
    spread = math.sqrt(sum(float(stats.sem(sample)) ** 2 for sample in samples))
    reach = float(stats.t.ppf(0.975, least - 1)) * spread
    return Amount(value=mean, low=max(0.0, mean - reach), high=mean + reach)
