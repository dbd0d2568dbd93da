"""How long things take, for people and for callers who have less time than they say."""

import math

import pytest

from services.gateway.listening import REPLY_RESERVE_S, in_words, reserve_s


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.5, "2.50 s"), (0.1, "0.10 s"), (0.05, "50 ms"), (0.00042, "0.42 ms"), (-1.0, "0 ms")]
)
def test_a_time_is_told_so_that_it_tells_something(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize("timeout_s", [0.0005, 0.9, 1.0051, 9.991, 10.0001, 10.05, 99.95, 100.01, 120.5, 3_600.0])
def test_what_is_kept_free_is_more_than_grpc_rounds_up(timeout_s: float) -> None:
    step_s = 10 ** max(-3, math.floor(math.log10(timeout_s)) - 2)  # Three digits, or milliseconds.
    told_s = math.ceil(round(timeout_s / step_s, 6)) * step_s
    assert told_s - reserve_s(told_s) <= timeout_s - REPLY_RESERVE_S / 2
