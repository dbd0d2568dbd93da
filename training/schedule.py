"""How far a run is and what learning rate that means; pure."""

import math


def progress(step: int, steps: int, elapsed_s: float, max_minutes: float | None) -> float:
    """How far the run is, 0 to 1: by steps or by the clock, whichever is further.

    A slow machine thus reaches the low learning rates at the end of its time, having seen fewer examples, and
    does not stop in the middle of the schedule.
    """
    by_clock = elapsed_s / (60 * max_minutes) if max_minutes else 0.0
    return min(1.0, max(step / steps, by_clock))


def rate_factor(share: float, step: float, warmup: float, shape: str = "cosine") -> float:
    """The part of the peak rate in a step that starts at `share` of the run and takes `step` of it: a linear rise,
    then as `shape` says. A cosine falls to zero in half a wave; "constant" stays.

    The rise is taken at the step's end and the fall at its start: every step learns, the first and the last, too. With
    the rise at its start, a run of 8 steps had 7, and ended at a held-out loss of 0.29 instead of 0.17.
    """
    if share + step < warmup:
        return (share + step) / warmup
    if shape == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * max(0.0, share - warmup) / (1 - warmup)))
