"""Would more data help? A power law through the held-out losses of several data sizes, drawn out to twice the data.

loss(n) = floor + rise * (n / N) ^ -fall, with N the largest size, floor and rise 0 or more and fall from 0.05 to 2: the
usual form of learning curves (Hestness et al. 2017, "Deep learning scaling is predictable, empirically"). Three
unknowns want three points. The interval is the middle 95 % of refits to points drawn anew within their standard
errors; as all sizes are judged on the same examples their errors go together, so it is wider than it need be. Pure.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from training.contract import DataPoint, Difference, Growth

REFITS: Final = 100
LOWER: Final = (0.0, 0.0, 0.05)
UPPER: Final = (np.inf, np.inf, 2.0)
LEAST_ERROR: Final = 1e-4  # nats; no loss is known better than that
WORTH: Final = 0.02
"""The share of the loss that twice the data must take away to be called help."""

Values = NDArray[np.float64]


def growth(points: Sequence[DataPoint]) -> Growth:
    """The law, what it says of twice the data, and the answer for people."""
    known = sorted(points, key=lambda point: point.examples)
    if len({point.examples for point in known}) < 3:
        return Growth(points=known, law="", answer="Not known: three sizes of the data are needed to tell.")
    sizes = np.array([point.examples for point in known], dtype=float)
    losses = np.array([point.eval_loss for point in known])
    errors = np.array([max(point.standard_error, LEAST_ERROR) for point in known])
    found = _fitted(sizes, losses, errors)
    now, twice = law(np.array([1.0, 2.0]), *found)
    gains = _gains(sizes, losses, errors)
    gain = Difference(
        difference=now - twice, low=float(np.quantile(gains, 0.025)), high=float(np.quantile(gains, 0.975))
    )
    floor, rise, fall = found
    text = f"loss = {floor:.3f} + {rise:.3f} * (n / {known[-1].examples}) ^ -{fall:.2f}"
    return Growth(points=known, law=text, twice_loss=twice, gain=gain, answer=_answer(gain, now))


def law(share: Values, floor: float, rise: float, fall: float) -> Values:
    """The loss at a multiple of the largest data size."""
    return np.asarray(floor + rise * share**-fall)


def _fitted(sizes: Values, losses: Values, errors: Values) -> tuple[float, float, float]:
    """Least squares, each point counted by its standard error."""
    share, least = sizes / sizes.max(), max(float(losses.min()), 1e-3)

    def misses(unknown: Values) -> Values:
        return (law(share, *unknown) - losses) / errors

    found = least_squares(misses, x0=(0.8 * least, 0.2 * least, 0.5), bounds=(LOWER, UPPER))
    floor, rise, fall = map(float, found.x)
    return floor, rise, fall


def _gains(sizes: Values, losses: Values, errors: Values) -> Values:
    draw = np.random.default_rng(0)
    drawn = (np.maximum(draw.normal(losses, errors), 1e-6) for _ in range(REFITS))
    ends = (law(np.array([1.0, 2.0]), *_fitted(sizes, some, errors)) for some in drawn)
    return np.array([now - twice for now, twice in ends])


def _answer(gain: Difference, now: float) -> str:
    least = WORTH * now
    told = f"Twice the data would lower the held-out loss from {now:.3f} by {gain.difference:.3f} nats a token"
    told += f" (95 %: {gain.low:.3f} to {gain.high:.3f})"
    if gain.low > least:
        return f"Yes. {told}."
    if gain.high < least:
        return f"No. {told}, less than {math.floor(100 * WORTH)} % of it."
    return f"Not clear. {told}."
