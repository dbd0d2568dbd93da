"""A threshold keeps its promise over many samples, is found where there is one, and its lack is told with figures."""

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from scipy import stats

from services.controller.calibration import GRID, Judged, Outcome, Table, at, calibrate, needed
from services.tasks import Cascade

TARGET = Cascade(risk=0.04)
KEPT = Cascade(risk=0.04, of="kept")
TRIES = 300


def wrongness(confidence: np.ndarray, near: float) -> np.ndarray:
    """How often the student errs at a confidence: next to never when it is sure, mostly when it is not."""
    made: np.ndarray = np.clip(-confidence * near, 0.002, 0.9)
    return made


def sample(rng: np.random.Generator, count: int, near: float = 0.1, teacher: float = 0.08) -> list[Judged]:
    confidence = -rng.exponential(0.6, count)
    wrong = rng.random(count) < wrongness(confidence, near)
    teachers = rng.random(count) < teacher
    return [Judged(float(c), bool(s), bool(t), 1e-6, 0.03) for c, s, t in zip(confidence, wrong, teachers, strict=True)]


@cache
def true_risk(threshold: float, target: Cascade, near: float, teacher: float) -> float:
    """The risk on all calls that there could be: evenly over the confidences' distribution."""
    confidence = 0.6 * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    kept, errs = confidence >= threshold, wrongness(confidence, near)
    if target.of == "kept":
        return float(errs[kept].mean()) if kept.any() else 0.0
    return float(np.where(kept, errs, teacher).mean())


@pytest.mark.parametrize("target", [TARGET, KEPT])
@pytest.mark.parametrize(("count", "teacher"), [(150, 0.02), (400, 0.08), (1_000, 0.3)])
def test_the_promised_risk_is_broken_in_no_more_samples_than_promised(target: Cascade, count: int, teacher: float):
    rng, broken = np.random.default_rng([count, target.of == "kept"]), 0
    for _ in range(TRIES):
        found = calibrate(sample(rng, count, 0.15, teacher), target, first=-0.5)
        if found.point:
            broken += true_risk(found.point.threshold, target, 0.15, teacher) > target.risk
    assert broken <= stats.binom.ppf(0.9999, TRIES, 1 - target.confidence)


def test_nor_where_a_sure_student_errs_more_than_an_unsure_one():
    rng, broken = np.random.default_rng(5), 0
    for _ in range(TRIES):
        confidence = -rng.exponential(0.6, 300)
        wrong = rng.random(300) < np.where(confidence > -0.3, 0.06, 0.01)
        rows = [Judged(float(c), bool(w), True, 0, 0) for c, w in zip(confidence, wrong, strict=True)]
        point = calibrate(rows, KEPT, first=-0.1).point
        if point:
            sure = 1 - np.exp(min(point.threshold, -1e-9) / 0.6)  # The part of the calls above it.
            above = 1 - np.exp(max(point.threshold, -0.3) / 0.6)
            broken += (0.06 * above + 0.01 * (sure - above)) / sure > KEPT.risk
    assert broken <= stats.binom.ppf(0.9999, TRIES, 0.05)


@pytest.fixture(scope="module")
def looks() -> np.ndarray:
    """How many wrong ones of 50, 100 ... 3,000 judged calls let the target seem met; every threshold keeps all."""
    sizes, allowed = range(50, 3_001, 50), []
    most = -1
    for count in sizes:
        while Table([Judged(-0.5, at < most + 1, True, 0, 0) for at in range(count)], KEPT).certified(-0.5):
            most += 1
        allowed.append(most)
    return np.array(allowed)


def ever_met(looks: np.ndarray, risk: float) -> tuple[float, float]:
    """Of lives at this risk the part in which it seems met at any look, and the largest part at one look."""
    wrong = np.random.default_rng(17).binomial(50, risk, (20_000, len(looks))).cumsum(axis=1)
    return float((wrong <= looks).any(axis=1).mean()), float((wrong <= looks).mean(axis=0).max())


def test_who_looks_often_is_deceived_more_often_than_is_promised_of_one_look_but_by_little(looks: np.ndarray):
    """The figures that services/controller/README.md tells, beside those of a single look."""
    assert max(ever_met(looks, risk)[1] for risk in (0.04, 0.041, 0.045, 0.05)) <= 0.025
    assert [round(ever_met(looks, risk)[0], 2) for risk in (0.041, 0.045, 0.05)] == [0.09, 0.03, 0.01]


def test_with_three_thousand_judged_calls_most_of_what_may_be_kept_is_kept():
    """Power: seven tenths of the calls that the best threshold would keep, in nine samples of ten."""
    best = max(1 - float(np.exp(one / 0.6)) for one in map(float, GRID) if true_risk(one, KEPT, 0.1, 0.08) <= KEPT.risk)
    rng, good = np.random.default_rng(7), 0
    for _ in range(100):
        found = calibrate(sample(rng, 3_000), KEPT, first=-0.8)
        good += bool(found.point and found.point.kept >= 0.7 * best)
    assert good >= 90


def test_a_student_that_is_good_enough_is_found_in_nearly_every_sample_of_five_hundred():
    rng = np.random.default_rng(11)
    found = [calibrate(sample(rng, 500, near=0.02), TARGET, first=-4.0).outcome for _ in range(100)]
    assert found.count(Outcome.MET) >= 95


def test_a_teacher_that_errs_more_does_not_stand_in_the_way_of_a_student_that_does_not():
    rng = np.random.default_rng(13)
    found = calibrate(sample(rng, 1_000, near=0.01, teacher=0.11), TARGET, first=-0.05)
    assert found.outcome is Outcome.MET
    assert found.point
    assert found.point.kept > 0.6


def test_what_is_met_is_told_with_its_share_and_its_cost():
    rows = [Judged(-0.01, False, False, 1e-6, 0.03)] * 300 + [Judged(None, True, False, 1e-6, 0.03)] * 100
    found = calibrate(rows, TARGET, first=-0.5)
    assert found.reason == (
        "cascade from confidence -20: 0 of 400 wrong, at most 0.0097, so at most 0.04 of all answers wrong with 0.95 "
        "confidence of this one look; 25.0% of the calls go to the teacher; $7,501.00 a million, the teacher alone "
        "$30,000.00 at 0.0% error"
    )


def test_an_answer_that_the_validators_refuse_is_never_kept():
    point = at([Judged(None, False, True, 0, 0)] * 10, TARGET, -20.0)
    assert (point.kept, point.wrong, point.counted) == (0.0, 10, 10)


def test_a_threshold_of_0_keeps_nothing_as_in_the_gateway():
    assert at([Judged(0.0, False, False, 0, 0)], TARGET, 0.0).kept == 0.0


def test_too_few_calls_are_told_with_how_many_it_takes():
    found = calibrate([Judged(-0.01, False, False, 0, 0)] * 50, TARGET, first=-0.5)
    assert found.outcome is Outcome.UNPROVEN
    assert found.reason.endswith("about 96 judged calls are needed, there are 50")


def test_no_calls_are_too_few():
    assert calibrate([], KEPT, first=-0.5).outcome is Outcome.UNPROVEN


def test_a_target_that_no_threshold_meets_is_said_to_be_so():
    rng = np.random.default_rng(3)
    rows = [Judged(float(-rng.exponential(0.6)), rng.random() < 0.3, rng.random() < 0.2, 0, 0) for _ in range(2_000)]
    for target in (TARGET, KEPT):
        found = calibrate(rows, target, first=-0.5)
        assert found.outcome is Outcome.UNREACHABLE
        assert found.reason.endswith("The teacher answers all")


def test_an_error_just_below_the_target_takes_more_calls_than_there_will_be():
    assert needed(0.03999, TARGET) is None
    assert needed(0.0, TARGET) == 96  # (1 - 0.04) ** 96 is the first below 0.02.


@given(some.floats(0, 0.03), some.floats(0, 0.03))
def test_the_more_it_errs_the_more_calls_it_takes(one: float, other: float):
    fewer, more = sorted((one, other))
    assert (needed(fewer, TARGET) or 10**9) <= 1.1 * (needed(more, TARGET) or 10**9) + 50


CALLS = some.lists(some.tuples(some.floats(-25, 0), some.booleans(), some.booleans()), max_size=200)


@given(CALLS, some.floats(-20, 0))
@example([], -5e-324)
def test_what_is_certified_has_its_bound_within_the_target(given_rows: list[tuple[float, bool, bool]], first: float):
    rows = [Judged(confidence, wrong, teacher, 0, 0) for confidence, wrong, teacher in given_rows]
    for target in (TARGET, KEPT, Cascade(risk=0.4, confidence=0.6)):
        found = calibrate(rows, target, first)
        assert (found.point is not None) == (found.outcome is Outcome.MET)
        if found.point:
            assert found.point.error <= found.point.bound <= target.risk + 1e-9
            assert not found.point.surely_above
            place, level = Table(rows, target).certified(first) or (0, 0.0)
            assert found.point == Table(rows, target).point(GRID[place], level)
