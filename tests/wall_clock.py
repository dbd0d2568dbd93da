"""A wall clock that jumps, for tests of what must go by the monotonic one."""

import time
from collections.abc import Iterator
from itertools import count

import pytest

YEAR_S = 365 * 86_400.0
leaping = pytest.mark.parametrize("leap_s", [YEAR_S, -YEAR_S], ids=["ahead", "back"])


def leap(monkeypatch: pytest.MonkeyPatch, leap_s: float) -> None:
    """From now on each look at the wall clock finds it `leap_s` further, up to thirty times."""
    began_s, leaps = time.time(), _up_to(30)
    monkeypatch.setattr(time, "time", lambda: began_s + leap_s * next(leaps))
    monkeypatch.setattr(time, "time_ns", lambda: int((began_s + leap_s * next(leaps)) * 1e9))


def _up_to(last: int) -> Iterator[int]:
    for number in count(1):
        yield min(number, last)
