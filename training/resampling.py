"""Intervals by the bootstrap: percentiles of a figure over examples drawn again; pure. 95 % unless a level is named."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Interval = tuple[float, float, float]
"""A figure, and the bounds around it."""
RESAMPLES = 2_000  # percentiles at 2.5 % vary by a tenth of the interval's half width between seeds
BATCH = 200  # resamples in memory at a time


def mean(values: NDArray[np.float64]) -> Interval:
    """The mean of values from 0 to 1, or of differences of such, with its bounds; of none nothing is known."""
    if len(values) == 0:
        return 0.0, -1.0, 1.0
    least = -1.0 if values.min() < 0 else 0.0
    return of([values], lambda drawn, axis: drawn.mean(axis=axis), [[least, 1.0]])


def of(columns: Sequence[NDArray[Any]], figure: Callable[..., Any], extremes: Sequence[Sequence[Any]]) -> Interval:
    """A figure of examples, with its bounds. `figure` takes the columns, [..., examples] each, and `axis`.

    `extremes` are examples, a list a column, that count in for the bounds alone: one of the best and one of the worst,
    so that a few equal examples claim no certainty.
    """
    point = float(figure(*columns, axis=-1))
    seen = tuple(np.append(column, extreme) for column, extreme in zip(columns, extremes, strict=True))
    low, high = _percentiles(seen, figure)
    return point, min(point, low), max(point, high)


def _percentiles(columns: tuple[NDArray[Any], ...], figure: Callable[..., Any]) -> tuple[float, float]:
    result = stats.bootstrap(
        columns,
        figure,
        n_resamples=RESAMPLES,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=BATCH,
    )
    low, high = map(float, result.confidence_interval)
    return low, high
