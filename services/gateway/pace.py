"""How long something takes, learned from how long it took lately; pure.

Durations are counted in buckets of which each is a tenth wider than the one before, so a quantile is told within 10 %,
as by the sketches that libraries have. What those lack and matters most here is forgetting: what took a second five
minutes ago says little of now.
"""

from itertools import accumulate
from math import log
from operator import add
from typing import Final

from services.gateway.lately import Lately

GROWTH: Final = 1.1
PER_LOG: Final = 1 / log(GROWTH)
LEAST_S: Final = 1e-4
BUCKETS: Final = 180  # To 2,500 s.
HALF_S: Final = 60.0
LEAST_NOTED: Final = 50
"""Below so many nothing is told: a 95th percentile of fewer is the slowest one or two."""
TOLD_FOR_S: Final = 1.0
"""A quantile is looked for once a second at most: that takes as long as noting fifty durations."""


class Pace:
    """The durations of the last one to two minutes. `now_s` is of one clock that does not go back."""

    def __init__(self) -> None:
        self._buckets = Lately(BUCKETS, HALF_S)
        self._told: dict[float, tuple[float, float | None]] = {}

    def note(self, took_s: float, now_s: float) -> None:
        """Something has taken so long."""
        bucket = int(log(took_s / LEAST_S) * PER_LOG) + 1 if took_s > LEAST_S else 0
        self._buckets.add(min(bucket, BUCKETS - 1), now_s)

    def quantile(self, part: float, now_s: float) -> float | None:
        """What `part` of all stayed below, in seconds; None as long as too few are known."""
        until_s, told = self._told.get(part, (0.0, None))
        if now_s >= until_s:
            self._buckets.turn(now_s)
            told = self._look(part)
            self._told[part] = now_s + TOLD_FOR_S, told
        return told

    def _look(self, part: float) -> float | None:
        below = list(accumulate(map(add, self._buckets.counts, self._buckets.earlier)))
        if below[-1] < LEAST_NOTED:
            return None
        return next(LEAST_S * GROWTH**bucket for bucket, noted in enumerate(below) if noted >= part * below[-1])
