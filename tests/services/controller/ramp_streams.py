"""Many ramps at once, each looked at after every pair: what the simulations of the ramp are made of.

All evidence is kept by the recursion whose end `Sample` computes from counts, in arrays of ramps x kinds x bets.
Only where it says that something may move is the real `decide` asked, with the real pairs; it alone decides. That it
holds everywhere else is a test of its own.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protos import events_pb2 as events
from services.controller.confidence import BETS, BLOCK, Sample, log_weight
from services.controller.history import share
from services.controller.ramp import Claim, Climb, decide, level_of_try
from services.ramp import Ramp

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FINAL = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)
ENOUGH: Final = 1e100
"""Money of which more says nothing new, and would at last be too much for a number."""
Pairs = NDArray[np.int64]
Draw = Callable[[int, NDArray[np.float64]], Pairs]
"""The step, and what is known so far (evidence for the student, ramps x kinds) -> the next pairs: -1, 0, 1 each."""


@dataclass
class Ended:
    """What became of the ramps."""

    shares: NDArray[np.float64]  # ramps x kinds x pairs: the student's part after each pair

    def ever_above(self, share: float = 0.0) -> float:
        """The part of the ramps in which any kind ever had more than that."""
        return float((self.shares > share).any(axis=(1, 2)).mean())

    def had_all(self, pairs: int) -> float:
        """The part of the ramps in which every kind had all calls within so many pairs of its own."""
        return float((self.shares[:, :, :pairs] == 1).any(axis=2).all(axis=1).mean())

    def median_to_all(self) -> int:
        """Within how many pairs half of the ramps had all calls."""
        reached = np.sort(np.where(self.shares[:, 0] == 1, 1, 0).argmax(axis=1))
        return int(reached[len(reached) // 2])


def errors(better: float, worse: float, seed: int) -> Callable[[tuple[int, int]], Pairs]:
    """Pairs of which in a part `better` only the teacher is wrong, in a part `worse` only the student."""
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, int]) -> Pairs:
        chance = rng.random(shape)
        return np.where(chance < better, -1, np.where(chance < better + worse, 1, 0))

    return draw


def climb(
    ramp: Ramp,
    ramps: int,
    steps: int,
    draw: Draw,
    *,
    kinds: Sequence[str] = ("",),
    looks: NDArray[np.bool_] | None = None,
    start: float = 0.0,
) -> Ended:
    """Let so many ramps run for so many pairs of each kind; looked at after each, or where `looks` (steps) says so.

    `start`: the student's part of the calls at the beginning.
    """
    shape = (ramps, len(kinds))
    values = np.array([-1.0, 0.0, 1.0])
    up = 1 + BETS * (ramp.margin - values[:, None]) / (1 - ramp.margin)  # 3 x bets
    down = 1 + BETS * (values[:, None] - ramp.margin) / (1 + ramp.margin)
    for_it, against = np.ones((*shape, len(BETS))), np.zeros((*shape, len(BETS)))
    taken, began = np.zeros((*shape, steps), dtype=np.int64), np.zeros(shape, dtype=int)
    shares, setbacks = np.full(shape, start), np.zeros(shape, dtype=int)
    ended = Ended(np.zeros((*shape, steps)))
    weights = np.exp([log_weight(block) for block in range(steps // BLOCK + 1)])
    by_try = np.array([level_of_try(1, number) for number in range(ramp.setbacks + 2)])
    level = ramp.alpha / len(kinds)
    for step in range(steps):
        taken[:, :, step] = drawn = draw(step, for_it.mean(axis=-1))
        n = step - began  # before this pair
        starts = np.where(n % BLOCK == 0, weights[n // BLOCK], 0.0)
        for_it *= up[drawn + 1]
        np.minimum(for_it, ENOUGH, out=for_it)
        against += starts[..., None]
        against *= down[drawn + 1]
        np.minimum(against, ENOUGH, out=against)
        tries = level * by_try[np.minimum(setbacks, len(by_try) - 1)]
        may_rise = (for_it.mean(axis=-1) >= 1 / tries) & (n + 1 >= ramp.least_pairs) & (shares < 1)
        may_rise &= setbacks <= ramp.setbacks
        may_fall = (against.mean(axis=-1) >= 1 / level) & (shares > 0)
        flagged = (may_rise | may_fall).any(axis=1)
        if looks is not None and not looks[step]:
            flagged[:] = False
        for one in np.flatnonzero(flagged):
            climbs = _climbs(
                ramp, kinds, taken[one, :, : step + 1], began[one], shares=shares[one], setbacks=setbacks[one]
            )
            decision = decide(ramp, FINAL, climbs, (), NOON)
            if decision.policy is None:
                continue
            for place, kind in enumerate(kinds):
                part = share(decision.policy, kind)
                if part != shares[one, place]:
                    setbacks[one, place] += part < shares[one, place]
                    shares[one, place], began[one, place] = part, step + 1
                    for_it[one, place], against[one, place] = 1, 0
        ended.shares[:, :, step] = shares
    return ended


def _climbs(
    ramp: Ramp, kinds: Sequence[str], taken: Pairs, began: Pairs, *, shares: NDArray[np.float64], setbacks: Pairs
) -> list[Climb]:
    return [
        Climb(
            kind=kind,
            share=float(shares[place]),
            since=datetime(2026, 1, 1, tzinfo=UTC),
            setbacks=int(setbacks[place]),
            proof=Claim(
                "student minus teacher", Sample.of(taken[place, began[place] :].tolist(), -1, 1), ramp.margin, "points"
            ),
        )
        for place, kind in enumerate(kinds)
    ]


POWER: Final = (  # better, worse: the parts of the pairs in which the teacher alone, and the student alone, is wrong
    (0.07, 0.02),
    (0.05, 0.03),
    (0.03, 0.03),
    (0.03, 0.04),
    (0.03, 0.05),
    (0.02, 0.07),
    (0.02, 0.12),
    (0.02, 0.22),
)


def power(ramp: Ramp, ramps: int = 300, pairs: int = 10_000) -> Iterator[str]:
    """A table of how soon students are promoted, and how soon taken back from 25 %; as Markdown."""
    yield "| only teacher wrong | only student wrong | any calls | half have all | 9 of 10 have | loses some of 25 % |"
    yield "|---|---|---|---|---|---|"
    for better, worse in POWER:
        up, down = errors(better, worse, seed=1), errors(better, worse, seed=2)
        rising = climb(ramp, ramps, pairs, lambda _step, _money, up=up: up((ramps, 1)))  # type: ignore[misc]
        falling = climb(ramp, ramps, 2_000, lambda _step, _money, down=down: down((ramps, 1)), start=0.25)  # type: ignore[misc]
        lost = (falling.shares[:, 0] < 0.25).argmax(axis=1)
        ever = (falling.shares[:, 0] < 0.25).any(axis=1).mean()
        half, most = (_within(rising.shares[:, 0] == 1, part) for part in (0.5, 0.9))
        told = f"{ever:.0%} within 2,000" + (f", half within {np.median(lost):,.0f}" if ever > 0.5 else "")
        yield f"| {better:.0%} | {worse:.0%} | {rising.ever_above():.0%} | {half} | {most} | {told} |"


def _within(reached: NDArray[np.bool_], part: float) -> str:
    first = np.sort(np.where(reached.any(axis=1), reached.argmax(axis=1), reached.shape[1]))
    at = first[int(part * len(first))]
    return f"{at:,} pairs" if at < reached.shape[1] else "never"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in power(Ramp(least_s=0)))
