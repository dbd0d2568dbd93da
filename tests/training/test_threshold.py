import numpy as np
import pytest

from training.threshold import KEEP_NOTHING, Judged, at, choose, keeps, teacher_error

TEACHER_ERROR = 0.11


def world(seed: int, n: int = 400, corrected: float = 0.1) -> tuple[list[Judged], list[bool]]:
    """Eval rows of a student that is wrong the more often the less sure it is, and whether each answer is wrong.

    It errs on 2 % of the answers that it is sure of, on half of those at -0.8, on 17 % over all.
    """
    draw = np.random.default_rng(seed)
    rows, wrongs = [], []
    for confidence in -draw.exponential(0.35, n):
        wrong = bool(draw.random() < 1 / (1 + np.exp(4 + 5 * confidence)))
        spoilt = bool(draw.random() < TEACHER_ERROR)
        vouched = bool(draw.random() < corrected)
        differs = wrong if vouched else wrong or spoilt
        rows.append(Judged(float(confidence), False, differs, vouched, spoilt if vouched else False))
        wrongs.append(wrong)
    return rows, wrongs


def true_error(rows: list[Judged], wrongs: list[bool], threshold: float) -> float:
    kept = np.array([keeps(threshold, row.confidence, "") for row in rows])
    return float(np.where(kept, wrongs, TEACHER_ERROR).mean())


def test_the_chosen_threshold_is_nearly_as_good_as_the_best() -> None:
    regrets = []
    for seed in range(20):
        threshold, _ = choose(world(seed)[0])
        rows, wrongs = world(1000 + seed, n=20_000)
        best = min(true_error(rows, wrongs, float(least)) for least in np.linspace(-3, -0.01, 60))
        regrets.append(true_error(rows, wrongs, threshold) - best)
    assert np.mean(regrets) < 0.012
    assert max(regrets) < 0.04


def test_the_cascade_beats_the_teacher_on_average() -> None:
    errors = [true_error(*world(1000 + seed, n=5000), choose(world(seed)[0])[0]) for seed in range(20)]
    assert np.mean(errors) < TEACHER_ERROR - 0.02


def test_the_teachers_error_is_found_although_its_labels_are_all_there_is() -> None:
    found = [teacher_error(world(seed, corrected=0.0)[0]) for seed in range(20)]
    assert np.mean(found) == pytest.approx(TEACHER_ERROR, abs=0.05)


def test_corrections_given_only_for_wrong_answers_do_not_make_the_teacher_look_hopeless() -> None:
    rows = [*world(0, corrected=0.0)[0], *[Judged(-0.1, False, False, True, True)] * 40]
    assert teacher_error(rows) < 2 * TEACHER_ERROR


@pytest.mark.parametrize("vouched_every", [10, 1000])
@pytest.mark.parametrize("right_every", [5, 1000])
def test_a_hopeless_student_keeps_nothing(vouched_every: int, right_every: int) -> None:
    """Also where nobody vouches for any label, so that its teacher might as well be the one that errs."""
    rows = [
        Judged(-0.01 * index, False, index % right_every != 0, index % vouched_every == 0, False)
        for index in range(1, 200)
    ]
    assert choose(rows)[0] == KEEP_NOTHING


def test_a_flawless_student_keeps_everything() -> None:
    rows = [Judged(-0.01 * index, False, index % 9 == 0, False, False) for index in range(1, 200)]
    threshold, curve = choose(rows)
    assert threshold == pytest.approx(-1.99)
    assert curve[-1].kept == pytest.approx(1.0)


def test_refused_answers_are_never_counted_as_kept() -> None:
    rows = [Judged(-0.1 - 0.01 * index, index % 2 == 0, False, True, index % 9 == 0) for index in range(100)]
    _, curve = choose(rows)
    assert curve[-1].kept == pytest.approx(0.5)


def test_nothing_is_kept_where_validators_refuse_all() -> None:
    assert choose([Judged(-0.1, True, False, True, False)] * 9) == (KEEP_NOTHING, [])


def test_keeping_nothing_costs_the_teachers_error() -> None:
    rows, _ = world(3)
    _, curve = choose(rows)
    assert curve[0].kept == 0.0
    assert curve[0].error == pytest.approx(teacher_error(rows))


def test_an_answer_is_kept_from_the_threshold_up_if_no_validator_minds() -> None:
    assert keeps(-0.5, -0.5, "")
    assert not keeps(-0.5, -0.51, "")
    assert not keeps(-0.5, -0.1, "no JSON")
    assert not keeps(KEEP_NOTHING, 0.0, "")


def test_a_row_that_stands_for_many_counts_as_many() -> None:
    rows = [Judged(-0.1, False, False, True, False, weight=9.0), Judged(-2.0, False, True, True, True, weight=1.0)]
    _, curve = choose(rows)
    assert [row.kept for row in curve] == [0.0, pytest.approx(0.9), pytest.approx(1.0)]


def test_a_student_that_always_agrees_with_its_labels_is_kept_whole() -> None:
    rows = [Judged(-0.01 * index, False, False, index % 10 == 0, False) for index in range(1, 200)]
    least = min(row.confidence for row in rows)
    assert choose(rows)[0] == pytest.approx(least)
    assert choose([*rows, Judged(-3.0, False, True, False, False)])[0] <= least


def test_a_student_without_a_mistake_is_kept_even_where_its_teacher_makes_none() -> None:
    rows = [
        Judged(-0.1 * place, refused=False, differs=False, corrected=True, teacher_differs=False) for place in (1, 2)
    ]
    threshold, curve = choose(rows)
    assert keeps(threshold, -0.2, "")
    assert (curve[-1].kept, curve[-1].error) == (1.0, 0.0)


def test_what_a_threshold_would_do_under_another_estimate_of_the_teacher() -> None:
    right, wrong = (Judged(-0.1, False, differs, True, False) for differs in (False, True))
    refused = Judged(-0.1, True, False, True, False)
    row = at([right, right, wrong, refused, Judged(-2.0, False, True, True, False)], -1.0, e=0.5)
    assert (row.kept, row.error) == (pytest.approx(0.6), pytest.approx(0.2 + 0.5 * 0.4))
    assert (at([right], 0.0, e=0.5).kept, at([right], 0.0, e=0.5).error) == (0, 0.5)
