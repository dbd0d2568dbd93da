import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.contract import DataPoint
from training.growth import growth, law


def points(floor: float, rise: float, fall: float, error: float, sizes: tuple[int, ...] = (100, 200, 400, 800)) -> list:
    losses = law(np.array(sizes) / max(sizes), floor, rise, fall)
    return [
        DataPoint(examples=size, eval_loss=loss, standard_error=error) for size, loss in zip(sizes, losses, strict=True)
    ]


def test_a_loss_that_still_falls_says_that_more_would_help() -> None:
    found = growth(points(0.2, 0.5, 0.5, error=0.001))
    assert found.answer.startswith("Yes.")
    assert found.twice_loss == pytest.approx(0.2 + 0.5 * 2**-0.5, rel=0.02)
    assert found.gain is not None
    assert found.gain.low <= 0.5 * (1 - 2**-0.5) <= found.gain.high


def test_a_loss_that_has_settled_says_that_more_would_not() -> None:
    assert growth(points(0.5, 0.001, 1.0, error=0.0005)).answer.startswith("No.")


def test_points_that_could_be_anything_say_nothing() -> None:
    assert growth(points(0.5, 0.1, 0.5, error=0.2)).answer.startswith("Not clear.")


def test_two_sizes_are_too_few() -> None:
    found = growth(points(0.5, 0.1, 0.5, error=0.01, sizes=(100, 200)))
    assert (found.law, found.gain) == ("", None)
    assert "three sizes" in found.answer


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=3, max_size=5), st.floats(0, 1))
def test_any_losses_have_an_answer(losses: list[float], error: float) -> None:
    made = [DataPoint(examples=2**i, eval_loss=loss, standard_error=error) for i, loss in enumerate(losses, 1)]
    assert growth(made).answer
