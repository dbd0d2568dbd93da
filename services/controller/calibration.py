"""A cascade's threshold from calls whose truth is known, such that a stated risk is kept; pure.

Learn then Test (Angelopoulos et al., 2021): each threshold of a fixed grid is a hypothesis "the risk is above the
target", which an exact binomial test may refute. They are tested in order, from strict to lax, and each chain of tests
ends at the first that is not refuted, so that a chain needs no correction for how many it tests. Two begin at and
somewhat before the threshold that the run's report chose on other data, and have 0.4 and 0.3 of the error probability;
the others begin at fixed places and share the rest. All of that is laid down before the calls are looked at, so nothing
is supposed of how confidence and error go together. The threshold that keeps most of those refuted is taken. The error
probability is that of one look: who looks again as calls come is deceived more often.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from services.tasks import Cascade

GRID: Final[NDArray[np.float64]] = -np.geomspace(1e-5, 20.0, 128)
"""Least log-probabilities from strict to lax: from a token of 99.999 % to one of two in a billion."""
FIRST_PART: Final = 0.4
STRICTER_PART: Final = 0.3
STRICTER: Final = 4.0
"""The second chain begins at a quarter of the first one's log-probability."""
STARTS_PART: Final = 0.3
STARTS: Final = tuple(range(16, 128, 10))
"""Places of the grid, from -0.00006 to -18, which keeps all that passes the validators."""
LEAST_KEPT: Final = 0.05
"""Of the calls. A cascade that keeps less spares nothing, and so few show nothing."""
MOST_ROWS: Final = 1_000_000
"""If more would be needed, it is the same as never."""


class Outcome(Enum):
    """What the calls say of the target."""

    MET = "met"
    UNPROVEN = "unproven"  # Not as yet: there are too few, or the error is too near.
    UNREACHABLE = "unreachable"  # Surely no threshold keeps it.


@dataclass(frozen=True)
class Judged:
    """A call whose truth is known, with what both answered."""

    confidence: float | None
    """None where the student gave no answer that the validators accept."""
    student_wrong: bool
    teacher_wrong: bool
    student_usd: float
    teacher_usd: float


@dataclass(frozen=True)
class Point:
    """What a threshold comes to on the judged calls."""

    threshold: float
    kept: float  # The part of the calls that the student's answer is given to.
    wrong: int
    counted: int  # Of so many answers: all, or those kept.
    bound: float  # The risk is at most this, with the target's confidence.
    usd_per_million: float
    surely_above: bool  # The risk is above the target with that confidence.

    @property
    def error(self) -> float:
        """The part that was wrong; 0 where none were counted."""
        return self.wrong / self.counted if self.counted else 0.0


@dataclass(frozen=True)
class Calibration:
    """What was found, and why, for people."""

    outcome: Outcome
    reason: str
    rows: int
    point: Point | None = None
    """The threshold to serve by; None unless the target is met."""


def calibrate(rows: Sequence[Judged], target: Cascade, first: float) -> Calibration:
    """The threshold that keeps most within the target. `first` is where the run's report would set it."""
    table = Table(rows, target)
    found = table.certified(first)
    if found is not None:
        place, level = found
        point = table.point(GRID[place], level)
        return Calibration(Outcome.MET, _met(point, target, table), len(rows), point)
    worth = [point for point in map(table.point, GRID) if point.kept >= LEAST_KEPT]
    if worth and all(point.surely_above for point in worth):
        return Calibration(Outcome.UNREACHABLE, _unreachable(worth, target, table), len(rows))
    return Calibration(Outcome.UNPROVEN, _unproven(worth, target, len(rows)), len(rows))


def at(rows: Sequence[Judged], target: Cascade, threshold: float) -> Point:
    """What a threshold that serves already comes to."""
    return Table(rows, target).point(threshold)


class Table:
    """The judged calls as columns."""

    def __init__(self, rows: Sequence[Judged], target: Cascade) -> None:
        self._target = target
        rows = sorted(rows, key=_sureness, reverse=True)
        self._unsureness = np.array([-_sureness(row) for row in rows], dtype=np.float64)
        self._students_wrong = _sums(row.student_wrong for row in rows)
        self._teachers_wrong = _sums(row.teacher_wrong for row in rows)
        self._student_usd = sum(row.student_usd for row in rows)
        self._teacher_usd = _sums(row.teacher_usd for row in rows)
        self._rows = len(rows)

    def certified(self, first: float) -> tuple[int, float] | None:
        """The laxest place of the grid that a chain reaches, with that chain's level; None if none gets anywhere."""
        reached = [(place, level) for begin, level in self._starts(first) for place in self._chain(begin, level)]
        return max(reached, default=None)

    def _starts(self, first: float) -> Iterator[tuple[int, float]]:
        wrongly = 1 - self._target.confidence
        if first < 0:
            yield _place(first), FIRST_PART * wrongly
            yield _place(first / STRICTER), STRICTER_PART * wrongly
        yield from ((begin, STARTS_PART * wrongly / len(STARTS)) for begin in STARTS)

    def _chain(self, begin: int, level: float) -> Iterator[int]:
        for place in range(begin, len(GRID)):
            wrong, counted = self._counts(GRID[place])
            if not counted or _at_most(wrong, counted, self._target.risk) > level:
                return
            yield place

    def _counts(self, threshold: float) -> tuple[int, int]:
        kept = self._kept(threshold)
        wrong = int(self._students_wrong[kept])
        if self._target.of == "kept":
            return wrong, kept
        return wrong + int(self._teachers_wrong[-1] - self._teachers_wrong[kept]), self._rows

    def _kept(self, threshold: float) -> int:
        """How many, as the gateway keeps: 0 keeps nothing."""
        return int(np.searchsorted(self._unsureness, -threshold, side="right")) if threshold < 0 else 0

    def point(self, threshold: float, level: float | None = None) -> Point:
        """What the threshold comes to; its bound at a test's `level`, by default that of the target's confidence."""
        kept, (wrong, counted) = self._kept(threshold), self._counts(threshold)
        level = 1 - self._target.confidence if level is None else level
        usd = self._student_usd + float(self._teacher_usd[-1] - self._teacher_usd[kept])
        return Point(
            threshold=float(threshold),
            kept=kept / max(1, self._rows),
            wrong=wrong,
            counted=counted,
            bound=float(special.betaincinv(wrong + 1, counted - wrong, 1 - level)) if wrong < counted else 1.0,
            usd_per_million=1e6 * usd / max(1, self._rows),
            surely_above=bool(wrong and 1 - _at_most(wrong - 1, counted, self._target.risk) <= level),
        )

    def teacher_alone(self) -> tuple[float, float]:
        """The part of its answers that is wrong, and what a million cost."""
        count = max(1, self._rows)
        return float(self._teachers_wrong[-1]) / count, 1e6 * float(self._teacher_usd[-1]) / count


def _sureness(row: Judged) -> float:
    return -np.inf if row.confidence is None else row.confidence


def _sums(values: Iterable[float]) -> NDArray[np.float64]:
    """Of the first 0, 1, 2 ... of them."""
    return np.cumsum([0.0, *values])


def _place(threshold: float) -> int:
    """The nearest on the grid."""
    return int(np.abs(np.log(-GRID) - np.log(max(-threshold, -GRID[0]))).argmin())


def needed(error: float, target: Cascade) -> int | None:
    """How many answers it takes to show the target at this part of wrong ones; None where more than MOST_ROWS."""
    level, low, high = FIRST_PART * (1 - target.confidence), 0, 1
    while _at_most(int(error * high), high, target.risk) > level:
        low, high = high, 2 * high
        if high > MOST_ROWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        shown = _at_most(int(error * middle), middle, target.risk) <= level
        low, high = (low, middle) if shown else (middle, high)
    return high


def _at_most(wrong: int, counted: int, risk: float) -> float:
    """The probability of so few wrong ones, or fewer, if each is wrong with that risk."""
    return float(special.bdtr(wrong, counted, risk))


def _aim(target: Cascade) -> str:
    of = "all answers" if target.of == "all" else "the student's answers"
    return f"at most {target.risk:.3g} of {of} wrong with {target.confidence:.3g} confidence"


def _met(point: Point, target: Cascade, table: Table) -> str:
    error, usd = table.teacher_alone()
    return (
        f"cascade from confidence {point.threshold:.4g}: {point.wrong} of {point.counted} wrong, "
        f"at most {point.bound:.4f}, so {_aim(target)} of this one look; "
        f"{1 - point.kept:.1%} of the calls go to the teacher; "
        f"${point.usd_per_million:,.2f} a million, the teacher alone ${usd:,.2f} at {error:.1%} error"
    )


def _unreachable(worth: Sequence[Point], target: Cascade, table: Table) -> str:
    best = min(worth, key=lambda point: point.error)
    return (
        f"{_aim(target)} can't be met: the best threshold, {best.threshold:.4g}, has {best.wrong} of {best.counted} "
        f"wrong, surely more; the teacher alone errs on {table.teacher_alone()[0]:.1%}. The teacher answers all"
    )


def _unproven(worth: Sequence[Point], target: Cascade, rows: int) -> str:
    best = min(worth, key=lambda point: point.error, default=None)
    error = best.error if best is not None else 0.0
    if error >= target.risk:
        return f"{_aim(target)} is not met by any threshold on {rows} judged calls, but they may be too few to say so"
    answers = needed(error, target)
    if answers is None:
        return f"{_aim(target)} can't be shown: {error:.2%} of {rows} judged calls are wrong at best, too near to it"
    kept = best.kept if best is not None and target.of == "kept" else 1.0
    return f"{_aim(target)} is not shown as yet: about {answers / kept:,.0f} judged calls are needed, there are {rows}"
