"""A ramp can't be fooled by looking often: a thousand of them at once, each looked at after every pair.

What a student is: in which part of the pairs the teacher alone is wrong, and in which the student alone. It may be
worse by 2 points at most, so one that is worse by exactly 2 must not go on, but for the 5 % that alpha allows.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.controller.confidence import Sample
from services.ramp import Ramp
from tests.services.controller.ramp_streams import Ended, Pairs, climb, errors

RAMPS = 1_000
RAMP = Ramp(margin=0.02, alpha=0.05, least_pairs=200, least_s=0)
LUCK = float(stats.binom.ppf(0.9999, RAMPS, RAMP.alpha)) / RAMPS
"""What a true 5 % may look like among a thousand: 7.3 %."""
JUST_TOO_BAD = {"usual": (0.03, 0.05), "the teacher never errs": (0.0, 0.02), "hardly ever alike": (0.4, 0.42)}


def simulated(better: float, worse: float, *, pairs: int, ramps: int = 100, seed: int = 6, start: float = 0.0) -> Ended:
    draw = errors(better, worse, seed)
    return climb(RAMP, ramps, pairs, lambda _step, _money: draw((ramps, 1)), start=start)


@pytest.mark.parametrize(("better", "worse"), JUST_TOO_BAD.values(), ids=JUST_TOO_BAD)
def test_a_student_just_too_bad_gets_no_calls_however_often_one_looks(better: float, worse: float) -> None:
    ended = simulated(better, worse, pairs=3_000, ramps=RAMPS)
    assert ended.ever_above() <= LUCK
    assert ended.had_all(3_000) == 0


def test_an_ordinary_interval_would_let_many_of_them_on() -> None:
    """So the simulation can tell a rule that is fooled: the same pairs, a one-sided 95 % t-interval at each look."""
    pairs = np.stack([errors(0.03, 0.05, seed)((1, 3_000))[0] for seed in range(RAMPS)])
    n = np.arange(1, 3_001)
    mean = pairs.cumsum(axis=1) / n
    spread = np.sqrt(np.maximum((pairs**2).cumsum(axis=1) / n - mean**2, 0) / n)
    fooled = (mean + 1.645 * spread <= RAMP.margin)[:, RAMP.least_pairs :].any(axis=1).mean()
    assert fooled > 0.2


def test_looks_at_any_times_fool_it_no_more() -> None:
    looks = np.random.default_rng(1).random(3_000) < 0.02
    draw = errors(0.03, 0.05, seed=7)
    ended = climb(RAMP, RAMPS, 3_000, lambda _step, _money: draw((RAMPS, 1)), looks=looks)
    assert ended.ever_above() <= LUCK


def test_who_chooses_the_calls_by_what_is_known_so_far_fools_it_no_more() -> None:
    """An adversary within bounds: on average 2 points worse at each pair, but as wild or as tame as suits him."""
    tame, wild = errors(0.0, 0.02, seed=8), errors(0.49, 0.51, seed=9)

    def draw(_step: int, money: NDArray[np.float64]) -> Pairs:
        nearly = (money > 2) & (money < 1 / RAMP.alpha)
        return np.where(nearly, wild((RAMPS, 1)), tame((RAMPS, 1)))

    assert climb(RAMP, RAMPS, 3_000, draw).ever_above() <= LUCK


POWER = {  # better, worse, pairs, the part that must have all calls by then
    "5 points better": (0.07, 0.02, 1_500, 0.9),
    "2 points better": (0.05, 0.03, 3_000, 0.9),
    "as good": (0.03, 0.03, 6_000, 0.5),
    "always alike": (0.0, 0.0, 1_100, 1.0),
}


@pytest.mark.parametrize(("better", "worse", "pairs", "least"), POWER.values(), ids=POWER)
def test_a_student_that_is_good_has_all_calls_before_long(
    better: float, worse: float, pairs: int, least: float
) -> None:
    ended = simulated(better, worse, pairs=pairs)
    told = f"{ended.had_all(pairs):.1%} had all calls within {pairs} pairs, half of them within {ended.median_to_all()}"
    assert ended.had_all(pairs) >= least, told


WORSE = {  # better, worse, pairs, the part that must be unseen by then
    "20 points worse": (0.02, 0.22, 150, 0.95),
    "10 points worse": (0.02, 0.12, 400, 0.95),
    "5 points worse": (0.02, 0.07, 2_000, 0.9),
}


@pytest.mark.parametrize(("better", "worse", "pairs", "least"), WORSE.values(), ids=WORSE)
def test_a_student_that_is_worse_loses_its_calls_before_long(
    better: float, worse: float, pairs: int, least: float
) -> None:
    ended = simulated(better, worse, pairs=pairs, start=0.25)
    lost = float((ended.shares[:, 0] < 0.25).any(axis=1).mean())
    told = f"{lost:.1%} had lost calls within {pairs} pairs"
    assert lost >= least, told
    assert (ended.shares <= 0.25).all()


def test_a_good_student_is_hardly_ever_set_back() -> None:
    ended = simulated(0.03, 0.03, pairs=4_000)
    set_back = float((np.diff(ended.shares[:, 0], axis=1) < 0).any(axis=1).mean())
    assert set_back <= RAMP.alpha, f"{set_back:.1%} of students as good as the teacher were set back"


def test_a_student_that_turns_bad_midway_goes_back_and_no_more_than_one_stage_further() -> None:
    """Nothing that was counted before a stage carries it on from there, and a change within one is looked for."""
    turn, ramps, pairs = 1_200, 100, 2_000
    good, bad = errors(0.05, 0.03, seed=10), errors(0.02, 0.12, seed=11)
    ended = climb(RAMP, ramps, pairs, lambda step, _money: (good if step < turn else bad)((ramps, 1)))
    shares = ended.shares[:, 0]
    at_turn = np.array([RAMP.stages.index(share) if share else -1 for share in shares[:, turn - 1]])
    highest = np.array([RAMP.stages.index(share) if share else -1 for share in shares[:, turn:].max(axis=1)])
    assert (highest > at_turn + 1).mean() <= LUCK
    served = shares[:, turn - 1] > 0
    lost = (np.diff(shares[served, turn : turn + 600], axis=1) < 0).any(axis=1).mean()
    assert served.mean() > 0.9
    assert lost >= 0.95, f"{lost:.1%} had lost calls within 600 pairs"


def test_a_bad_kind_stays_with_the_teacher_while_the_others_go_on() -> None:
    ramps, pairs = 40, 2_500
    good, bad = errors(0.07, 0.02, seed=12), errors(0.02, 0.08, seed=13)

    def draw(_step: int, _money: NDArray[np.float64]) -> Pairs:
        return np.hstack([good((ramps, 2)), bad((ramps, 1))])

    ended = climb(RAMP, ramps, pairs, draw, kinds=("short", "long", "foreign"))
    assert (ended.shares[:, 2] > 0).any(axis=1).mean() <= RAMP.alpha
    assert (ended.shares[:, :2] == 1).any(axis=2).all(axis=1).mean() >= 0.95


def test_many_kinds_that_are_all_too_bad_have_no_better_chance_together() -> None:
    draw = errors(0.03, 0.05, seed=14)
    kinds = tuple("abcdefgh")
    ended = climb(RAMP, 500, 2_000, lambda _step, _money: draw((500, 8)), kinds=kinds)
    assert ended.ever_above() <= float(stats.binom.ppf(0.9999, 500, RAMP.alpha)) / 500


def test_where_both_always_err_alike_no_margin_means_no_promotion() -> None:
    strict = RAMP.model_copy(update={"margin": 0.0})
    ended = climb(strict, 1, 2_000, lambda _step, _money: np.zeros((1, 1), dtype=int))
    assert ended.ever_above() == 0


def test_the_arrays_of_the_simulation_hold_what_a_sample_says() -> None:
    """The recursion that says where something may move, beside the sample that decides."""
    seen: list[float] = []
    pairs = errors(0.02, 0.02, seed=15)((1, 190))

    def draw(step: int, money: NDArray[np.float64]) -> Pairs:
        seen.append(float(money[0, 0]))
        return pairs[:, step : step + 1]

    climb(RAMP, 1, 190, draw)
    for n in (0, 1, 31, 32, 33, 189):
        assert np.log(seen[n]) == pytest.approx(Sample.of(pairs[0, :n].tolist(), -1, 1).log_below(RAMP.margin))
