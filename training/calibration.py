"""Whether a student is as often right as it is sure, and whether it is surer of right answers than of wrong ones; pure.

The answers are put into bins of about equally many, the least sure first. The calibration error is the mean distance of
a bin's mean confidence and its share of right answers, counted by answers (Naeini et al. 2015, "Obtaining well
calibrated probabilities using Bayesian binning"). It is above 0 for a perfect student, too, as bins are finite: what it
would be is drawn (Broecker and Smith 2007, "Increasing the reliability of reliability diagrams"). The ranks' figure is
the area under the ROC curve.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training import resampling, scoring
from training.contract import Bin, Calibration, Figure
from training.scoring import Flags

BINS: Final = 10
LEAST_IN_A_BIN: Final = 10
DRAWS: Final = 2_000
Floats = NDArray[np.float64]


def calibration(confidence: Sequence[float] | Floats, wrong: Flags) -> Calibration | None:
    """`confidence`: the log-probability, 0 or less, of each answer, of which `wrong` are. None of no answers."""
    if len(wrong) == 0:
        return None
    order = np.argsort(np.asarray(confidence, dtype=float), kind="stable")
    sure = np.exp(np.asarray(confidence, dtype=float)[order])
    right = ~np.asarray(wrong, dtype=bool)[order]
    parts = np.array_split(np.arange(len(order)), max(1, min(BINS, len(order) // LEAST_IN_A_BIN)))
    return Calibration(
        bins=[_bin(sure[part], right[part]) for part in parts],
        mean_sure=float(sure.mean()),
        mean_right=float(right.mean()),
        error=float(_error(sure, right, parts)),
        by_chance=_by_chance(sure, parts),
        ranks=_ranks(sure, right),
    )


def _bin(sure: Floats, right: Flags) -> Bin:
    share, low, high = scoring.error_interval(right)
    return Bin(n=len(sure), sure=float(sure.mean()), right=share, low=low, high=high)


def _error(sure: Floats, right: NDArray[np.bool_], parts: Sequence[NDArray[np.int64]]) -> Any:
    """`right`: [..., answers]."""
    gaps = [len(part) * np.abs(right[..., part].mean(axis=-1) - sure[part].mean()) for part in parts]
    return np.sum(gaps, axis=0) / len(sure)


def _by_chance(sure: Floats, parts: Sequence[NDArray[np.int64]]) -> float:
    drawn = np.random.default_rng(0).random((DRAWS, len(sure))) < sure
    return float(np.quantile(_error(sure, drawn, parts), 0.95))


def _ranks(sure: Floats, right: Flags) -> Figure | None:
    if right.all() or not right.any():
        return None
    least, most = sure.min(), sure.max()
    extremes = [[most, least, least, most], [True, False, True, False]]  # told apart, and the wrong way round
    value, low, high = resampling.of([sure, right], _area, extremes)
    return Figure(value=value, low=low, high=high, n=len(sure))


def _area(sure: Floats, right: NDArray[np.bool_], axis: int) -> Any:
    """Mann and Whitney's statistic; one half where the answers are all right or all wrong."""
    rank = stats.rankdata(sure, axis=axis)
    hits = right.sum(axis=axis)
    pairs = hits * (right.shape[axis] - hits)
    above = (rank * right).sum(axis=axis) - hits * (hits + 1) / 2
    return np.where(pairs > 0, above / np.maximum(1, pairs), 0.5)
