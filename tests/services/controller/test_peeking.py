"""Who asks often is not promoted by luck: thousands of golden sets' lives, judged by the verdict itself.

In each life a student that must not be promoted is judged LOOKS times. What a look needs for a promotion is asked of
the real proof and verdict; whether a life gets there is drawn.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.controller.verdict import judge
from tests.services.controller.world import a_report, a_score, a_task
from training.proof import WRONGLY, proof, spent

LIVES = 20_000
LOOKS = 20
GROWING = tuple(60 + 40 * look for look in range(LOOKS))
"""Golden examples at each look."""
FEWER = GROWING[4::4]
TASK = a_task(error_ceiling=0.09)
LUCK = stats.binom.ppf(0.9999, LIVES, WRONGLY) / LIVES
"""What a true 5 % may look like among so many lives."""

Look = Callable[[int], int]
Counts = NDArray[np.int64]


def flags(n: int, wrong: range) -> NDArray[np.bool_]:
    found = np.zeros(n, dtype=bool)
    found[wrong.start : wrong.stop] = True
    return found


@cache
def promotes(look: int, n: int, both: int, ours: int, theirs: int, *, among: int = 1) -> bool:
    """Whether a student is promoted that errs on `ours` examples alone, the teacher on `theirs`, and both on `both`."""
    student = flags(n, range(both + ours))
    teacher = flags(n, range(both)) | flags(n, range(both + ours, both + ours + theirs))
    held = proof(look, teacher, student, teacher, among)  # a cascade that keeps nothing is the teacher
    idle = a_score(0.2, 0.1, 0.3, teacher_share=1.0)
    return judge(a_report(golden=n, proof=held, cascade=idle), TASK).promote


def most(allowed: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that is allowed, if all below one that is are, too; -1 if none is."""
    low, high = -1, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if allowed(middle) else (low, middle - 1)
    return low


def ever(wrong: Counts, look: Look, sizes: Sequence[int] = GROWING) -> float:
    """The share of lives that get a promotion. The teacher errs on all the rest, so the ceiling alone decides."""
    limits = [most(lambda k, n=n, at=at: promotes(look(at), n, 0, k, n - k), n) for at, n in enumerate(sizes, 1)]
    return float((wrong <= np.array(limits)).any(axis=1).mean())


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def growing(draw: np.random.Generator) -> Counts:
    """Errors of one student on a golden set that grows: [LIVES, LOOKS]. It errs as often as the ceiling says."""
    return draw.binomial(np.diff(GROWING, prepend=0), TASK.error_ceiling, (LIVES, LOOKS)).cumsum(axis=1)


def test_what_all_looks_spend_is_five_percent() -> None:
    assert sum(map(spent, range(1, 100_000))) == pytest.approx(WRONGLY, abs=1e-6)
    assert spent(1) > spent(2) > spent(3)


def test_the_better_of_two_students_that_one_look_is_among(draw: np.random.Generator) -> None:
    n = GROWING[-1]
    limit = most(lambda k: promotes(1, n, 0, k, n - k, among=2), n)
    better = draw.binomial(n, TASK.error_ceiling, (LIVES, 2)).min(axis=1)
    assert 0 < (better <= limit).mean() <= stats.binom.ppf(0.9999, LIVES, spent(1)) / LIVES


def test_one_student_on_a_growing_golden_set(draw: np.random.Generator) -> None:
    wrong = growing(draw)
    assert ever(wrong, lambda at: at) <= LUCK
    assert ever(wrong, lambda at: 1) > ever(wrong, lambda at: at)


def test_a_new_student_at_each_look(draw: np.random.Generator) -> None:
    wrong = draw.binomial(GROWING, TASK.error_ceiling, (LIVES, LOOKS))
    assert ever(wrong, lambda at: at) <= LUCK
    assert ever(wrong, lambda at: 1) > 2 * WRONGLY  # what peeking does if every look is taken for the first


def test_a_new_student_at_each_look_at_the_same_golden_set(draw: np.random.Generator) -> None:
    same = (300,) * LOOKS
    wrong = draw.binomial(same, TASK.error_ceiling, (LIVES, LOOKS))
    assert ever(wrong, lambda at: at, same) <= LUCK
    assert ever(wrong, lambda at: 1, same) > 2 * WRONGLY


@pytest.mark.parametrize("apart", [0.02, 0.06])
def test_students_that_err_as_often_as_the_teacher(draw: np.random.Generator, apart: float) -> None:
    """Under the ceiling, and neither better nor worse: on a share `apart` of the examples one errs, on as many the
    other.
    """
    ours = draw.binomial(FEWER, apart, (LIVES, len(FEWER)))
    theirs = draw.binomial(np.array(FEWER) - ours, apart / (1 - apart))
    assert ever_beats(ours, theirs, lambda at: at) <= LUCK
    assert ever_beats(ours, theirs, lambda at: 1) > WRONGLY


def ever_beats(ours: Counts, theirs: Counts, look: Look) -> float:
    """The share of lives in which the student seems better than the teacher once."""
    lucky = np.zeros(LIVES, dtype=bool)
    for at, n in enumerate(FEWER, 1):
        limits = np.array(most_by_the_teachers(look(at), n, int(theirs[:, at - 1].max())))
        lucky |= ours[:, at - 1] <= limits[theirs[:, at - 1]]
    return float(lucky.mean())


def most_by_the_teachers(look: int, n: int, limit: int) -> list[int]:
    """For each number of the teacher's own errors the most that the student may have; -1 if none is few enough."""
    limits: list[int] = []
    for theirs in range(limit + 1):
        allowed = limits[-1] if limits else -1
        while allowed + 1 < n - theirs and promotes(look, n, 0, allowed + 1, theirs):
            allowed += 1
        limits.append(allowed)
    return limits


def test_a_good_student_is_promoted_at_a_late_look_too(draw: np.random.Generator) -> None:
    good = draw.binomial(GROWING[-1], 0.03, LIVES)
    limit = most(lambda k: promotes(LOOKS, GROWING[-1], 0, k, GROWING[-1] - k), GROWING[-1])
    assert (good <= limit).mean() > 0.9
