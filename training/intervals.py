"""Intervals of means; pure."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.contract import Difference


def mean_interval(differences: Sequence[float] | NDArray[np.float64]) -> Difference:
    """The mean with its 95 % interval by Student's t; of one value alone nothing is known."""
    values = np.asarray(differences, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Difference(difference=mean, low=-math.inf, high=math.inf)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Difference(difference=mean, low=mean - reach, high=mean + reach)
