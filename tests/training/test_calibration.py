import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.calibration import BINS, calibration

ANSWERS = 1_000


def drawn(sharpen: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Confidences, and mistakes as often as those say; told with `sharpen` they promise more or less than that."""
    draw = np.random.default_rng(7)
    sure = draw.uniform(0.05, 0.95, ANSWERS)
    odds = (sure / (1 - sure)) ** sharpen
    return np.log(odds / (1 + odds)), draw.random(ANSWERS) > sure


def test_a_student_that_is_as_right_as_it_is_sure_is_within_chance() -> None:
    found = calibration(*drawn(sharpen=1))
    assert found is not None
    assert found.error <= found.by_chance
    assert sum(one.n for one in found.bins) == ANSWERS
    assert sum(one.low <= one.sure <= one.high for one in found.bins) >= BINS - 2


def test_a_student_that_is_surer_than_right_is_found_out() -> None:
    found = calibration(*drawn(sharpen=4))
    assert found is not None
    assert found.error > 2 * found.by_chance
    assert found.bins[-1].sure > found.bins[-1].high


def test_what_tells_right_from_wrong_does_so_however_its_confidence_is_stretched() -> None:
    plain, stretched = calibration(*drawn(sharpen=1)), calibration(*drawn(sharpen=4))
    assert plain
    assert stretched
    assert plain.ranks == stretched.ranks
    assert plain.ranks
    assert 0.75 < plain.ranks.low < plain.ranks.value < plain.ranks.high < 0.9


def test_a_confidence_that_knows_nothing_ranks_as_chance_does() -> None:
    sure, wrong = drawn(sharpen=1)
    found = calibration(np.random.default_rng(1).permutation(sure), wrong)
    assert found
    assert found.ranks
    assert found.ranks.low < 0.5 < found.ranks.high


def test_where_all_is_right_there_is_nothing_to_rank() -> None:
    found = calibration([-0.1, -0.2, -0.3], np.zeros(3, dtype=bool))
    assert found
    assert found.ranks is None
    assert len(found.bins) == 1


def test_an_answer_of_no_tokens_is_one_that_is_not_sure_at_all() -> None:
    found = calibration([float("-inf"), -0.1], np.array([True, False]))
    assert found
    assert found.bins[0].sure == pytest.approx(np.exp(-0.1) / 2)
    assert found.ranks
    assert found.ranks.value == 1


def test_of_no_answers_nothing_is_known() -> None:
    assert calibration([], np.zeros(0, dtype=bool)) is None


@given(st.lists(st.tuples(st.floats(-20, 0), st.booleans()), min_size=1, max_size=60))
def test_every_figure_is_a_share_whatever_was_answered(answers: list[tuple[float, bool]]) -> None:
    found = calibration([sure for sure, _ in answers], np.array([wrong for _, wrong in answers]))
    assert found
    shares = [found.error, found.by_chance]
    for one in found.bins:
        shares += [one.sure, one.right, one.low, one.high]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(one.n for one in found.bins) == len(answers)
