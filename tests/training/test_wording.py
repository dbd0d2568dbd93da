import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import wording


@pytest.mark.parametrize(
    ("usd", "told"),
    [
        (26_543.21, "$26,543"),
        (12.345, "$12.35"),
        (0.5, "$0.50"),
        (0.0421, "$0.042"),
        (0.000_012_3, "$0.000012"),
        (0, "$0.00"),
        (-3, "-$3.00"),
    ],
)
def test_money_has_the_digits_that_count(usd: float, told: str) -> None:
    assert wording.dollars(usd) == told


@pytest.mark.parametrize(
    ("days", "told"),
    [(math.inf, "never"), (0.5, "12 hours"), (400, "400 days"), (1 / 24, "60 minutes"), (0, "0.0 seconds")],
)
def test_a_span_has_the_largest_unit_of_which_there_are_two(days: float, told: str) -> None:
    assert wording.days(days) == told


@given(st.floats(0, 1e12))
def test_a_span_keeps_two_digits(seconds: float) -> None:
    count, unit = wording.span(seconds).split()
    size = {name: size for size, name in wording.UNITS}[unit]
    assert float(count.replace(",", "")) * size == pytest.approx(seconds, rel=0.05, abs=0.051)


def test_a_sentence_begins_and_ends_as_one() -> None:
    assert wording.sentence("small, because it is") == "Small, because it is."
    assert wording.sentence("Done.") == "Done."
    assert wording.milliseconds(3.14159) == "3.1 ms"
    assert wording.milliseconds(1234.5) == "1,234 ms"


def test_what_stands_between_backticks_is_code_and_nothing_is_markup() -> None:
    assert wording.code("ask `tutelage <b>`") == "ask <code>tutelage &lt;b&gt;</code>"
