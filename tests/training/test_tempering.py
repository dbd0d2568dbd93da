from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tempering import tempered

LABELS = 3


def logs(likely: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(likely)


def said(sure: float, right: float, rows: int = 400) -> tuple[Any, Any]:
    """What a student finds likely that is always so sure, and the labels, of which so many are as it says."""
    likely = np.full((rows, LABELS), (1 - sure) / (LABELS - 1))
    likely[:, 0] = sure
    return logs(likely), np.array([0 if row < right * rows else 1 + row % 2 for row in range(rows)])


@given(st.floats(0.5, 0.999), st.floats(0.4, 0.95))
def test_a_student_is_as_sure_as_it_is_often_right(sure: float, right: float) -> None:
    likely, labels = said(sure, right)
    found = tempered(likely, labels, np.arange(len(labels)))
    assert found[:, 0].mean() == pytest.approx(right, abs=0.03)
    assert found.sum(-1) == pytest.approx(1)


def test_what_it_finds_likeliest_stays_the_likeliest() -> None:
    likely = logs(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
    found = tempered(likely, np.array([0, 1]), np.arange(2))
    assert found.argsort(-1).tolist() == likely.argsort(-1).tolist()


def test_rows_of_which_nothing_is_known_stay_unknown_and_those_untold_are_tempered_as_the_others() -> None:
    likely, labels = said(0.99, 0.8)
    more = np.vstack([likely, [[-np.inf] * LABELS], likely[:1]])
    found = tempered(more, labels, np.arange(len(labels)))
    assert found[-2].tolist() == [0.0] * LABELS
    assert found[-1].tolist() == found[0].tolist()
