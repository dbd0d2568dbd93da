"""What may be said of a mean however often one looks: evidence by bets, and the confidence sequence of it; pure.

One bets against "the mean of each value, given those before it, is at least `bound`": a part q of the money at even
terms, so that it becomes 1 + q (bound - value) / (high - bound) times as much with each value. If the claim is true no
such bet gains on average; nor does the mean over many q. So the money ever reaches 1 / level with a probability of at
most `level` (Ville's inequality), whatever rule ends the looking: no correction for looks is needed. The bounds that
are not refuted make the confidence sequence.

Sources: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024); the mixture
over q, with the weights of Cover's universal portfolio: Orabona & Jun, "Tight concentrations and confidence sequences
from the regret of universal portfolio", IEEE Trans. Inf. Theory 70 (2024). Theirs needs no order of the values, only
how often there was each: whoever starts anew comes to the same evidence. Of libraries, `confseq`, by the first authors,
has no wheels and no release since 2023, `expectation` wants a later Python, and `ville` is a first release.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]

BETS: Final[Array] = np.sin((np.arange(24) + 0.5) / 24 * np.pi / 2) ** 2
"""The parts q, equally weighted: the middles of 24 parts of the arcsine distribution."""
BLOCK: Final = 32
"""Values between two moments from which on something may have changed."""
_CLOSE: Final = 1e-9
_FINE: Final = 1e-4
"""A hundredth of a point."""


def gains(values: Array, bound: float, high: float) -> Array:
    """ln of what each bet becomes with each value: values x bets. No value is above `high`, and `bound` is below."""
    made: Array = np.log1p(BETS * (bound - values[..., None]) / (high - bound))
    return made


def mixed(log_money: Array) -> Array:
    """ln of the mean over the bets, which are the last axis."""
    most = log_money.max(axis=-1, keepdims=True)
    made: Array = np.log(np.exp(log_money - most).mean(axis=-1)) + most[..., 0]
    return made


def log_weight(block: int) -> float:
    """ln of the prior probability that something changes at the beginning of this block, from 0; they add up to 1."""
    return -math.log((block + 1) * (block + 2))


@dataclass(frozen=True)
class Sample:
    """Values between `low` and `high`: how often there was each of `values`, in blocks in order of time."""

    values: Array  # (values,)
    counts: Array  # (blocks, values)
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], low: float, high: float, block: int = BLOCK) -> "Sample":
        """Of values in order of time. Raises ValueError if one is out of bounds."""
        given = np.asarray(values, dtype=float)
        if given.size and not (low <= given.min() and given.max() <= high):  # also where one is not a number
            raise ValueError(f"values must be from {low:g} to {high:g}, not {given.min():g} to {given.max():g}")
        different, places = np.unique(given, return_inverse=True)
        counts = np.zeros((-(-given.size // block), different.size))
        np.add.at(counts, (np.arange(given.size) // block, places), 1)
        return cls(different, counts, low, high)

    @cached_property
    def totals(self) -> Array:
        """How often there was each value."""
        return np.asarray(self.counts.sum(axis=0))

    @cached_property
    def n(self) -> int:
        """How many values."""
        return int(self.totals.sum())

    @property
    def mean(self) -> float:
        """Their mean; not a number without any."""
        return float(self.totals @ self.values / self.n) if self.n else math.nan

    def log_below(self, bound: float) -> float:
        """ln of the evidence against a mean of `bound` or more."""
        return float(mixed(self.totals @ gains(self.values, bound, self.high)))

    def log_above(self, bound: float) -> float:
        """ln of the evidence against a mean of `bound` or less."""
        return self._mirrored().log_below(-bound)

    def log_above_lately(self, bound: float) -> float:
        """As `log_above`, for a mean that may have risen at the beginning of any block: all those are bet on, too.

        One that was low for long hides a rise from `log_above`. Who claims "never above" is refuted wrongly no more
        often.
        """
        mirrored = self._mirrored()
        money = np.cumsum(mirrored.counts @ gains(mirrored.values, -bound, mirrored.high), axis=0)  # (blocks, bets)
        if not len(money):
            return 0.0
        before = np.vstack([np.zeros_like(money[:1]), money[:-1]])
        weights = np.array([[log_weight(block)] for block in range(len(money))])
        return float(mixed(money[-1] + np.logaddexp.reduce(weights - before, axis=0)))

    def upper(self, level: float) -> float:
        """Above which the mean is not, but for a chance of `level` over all looks together."""
        enough, most = math.log(1 / level), self.high - _CLOSE
        if not self.n or self.log_below(most) < enough:
            return self.high
        return float(brentq(lambda bound: self.log_below(bound) - enough, self.mean, most, xtol=_FINE))

    def lower(self, level: float) -> float:
        """Below which the mean is not, but for a chance of `level` over all looks together."""
        return -self._mirrored().upper(level)

    def _mirrored(self) -> "Sample":
        return Sample(-self.values, self.counts, -self.high, -self.low)
