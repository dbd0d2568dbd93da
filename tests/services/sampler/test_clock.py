"""A wall clock that jumps changes neither when a batch is complete nor what was decided."""

import time
from itertools import count
from typing import Any

import pytest

from services.sampler import app, feed
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.topics import EXCHANGES, encode
from tests.services.sampler.makers import a_stream, a_task, an_exchange

YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize("leap_s", [YEAR_S, -YEAR_S])
async def test_batches_are_as_large_as_with_a_quiet_clock(monkeypatch: pytest.MonkeyPatch, leap_s: float) -> None:
    leaps = count(1)
    monkeypatch.setattr(time, "time", lambda: 2e9 + leap_s * next(leaps))
    found = feed.batches(a_stream(range(25)), max_messages=10, within_s=60.0)
    assert [len(await anext(found)) for _ in range(3)] == [10, 10, 5]
    await found.aclose()


@pytest.mark.parametrize("leap_s", [YEAR_S, -YEAR_S])
def test_what_comes_after_a_leap_is_decided_and_remembered(leap_s: float) -> None:
    data: dict[bytes, bytes] = {}
    memory = Memory(data, max_count=100, max_age_s=1000.0)
    joiner = Joiner({"address": a_task()}, memory)
    made: list[Any] = []
    for number in range(3):
        now_s = 2e9 + leap_s * number
        made += app.decide_batch(joiner, [encode(EXCHANGES, an_exchange(f"e{number}", f"{number} Main St"))], now_s)
        memory.forget_old(now_s)
        assert f"exchange:e{number}".encode() in data
    assert len(made) == 3
