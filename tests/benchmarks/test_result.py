"""What a benchmark's options may be."""

import argparse
from collections.abc import Callable

import pytest

from benchmarks.result import how_many, how_much, seconds_under_load


def test_what_can_be_measured_is_read() -> None:
    assert (how_many("100000"), how_much("0"), how_much("2.5"), seconds_under_load("0.5")) == (100_000, 0, 2.5, 0.5)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *((how_many, text) for text in ("0", "-1", "2.5", "many", "")),
        *((how_much, text) for text in ("-1", "nan", "inf", "long")),
        *((seconds_under_load, text) for text in ("0", "0.01", "-2", "nan", "inf", "")),
    ],
)
def test_what_can_not_be_measured_is_refused_with_what_can(option: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=rf"must be a .*number, .* or more, not '{text}'"):
        option(text)
