import random
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sampler.reservoirs import DAY_S, Reservoirs


def kept(
    reservoirs: Reservoirs, priorities: list[float], size: int, sort: str = "a", now_s: float = 0.0
) -> list[float]:
    """The limits under which priorities were kept."""
    limits = []
    for priority in priorities:
        limit = reservoirs.limit("task", sort, size, now_s)
        reservoirs.add("task", sort, size, now_s, priority)
        limits += [limit] if priority < limit else []
    return limits


def test_while_there_is_room_all_are_kept_for_certain() -> None:
    assert kept(Reservoirs(), [0.9, 0.1, 0.99], size=3) == [1.0, 1.0, 1.0]


@given(st.lists(st.floats(0, 1, exclude_max=True), unique=True, min_size=1, max_size=60), st.integers(1, 10))
@settings(max_examples=100)
def test_afterwards_what_is_among_the_smallest_so_far(priorities: list[float], size: int) -> None:
    reservoirs = Reservoirs()
    for place, priority in enumerate(priorities):
        limit = reservoirs.limit("task", "a", size, 0.0)
        reservoirs.add("task", "a", size, 0.0, priority)
        assert (priority < limit) == (sorted(priorities[: place + 1]).index(priority) < size)


def test_the_limit_is_passed_by_the_logarithm_of_the_traffic_alone() -> None:
    draw = random.Random(1)
    found = kept(Reservoirs(), [draw.random() for _ in range(20_000)], size=100)
    assert len(found) == pytest.approx(100 * (1 + log(20_000 / 100)), rel=0.15)


def test_the_probabilities_weigh_back_to_the_traffic() -> None:
    estimates = []
    for seed in range(30):
        draw = random.Random(seed)
        estimates.append(sum(1 / limit for limit in kept(Reservoirs(), [draw.random() for _ in range(3_000)], 50)))
    assert sum(estimates) / len(estimates) == pytest.approx(3_000, rel=0.05)


def test_sorts_tasks_and_days_have_reservoirs_of_their_own() -> None:
    reservoirs = Reservoirs()
    kept(reservoirs, [0.1, 0.2], size=1)
    assert kept(reservoirs, [0.9], size=1) == []
    assert kept(reservoirs, [0.9], size=1, sort="b") == [1.0]
    assert kept(reservoirs, [0.9], size=1, now_s=DAY_S) == [1.0]


def test_the_sort_that_was_longest_unused_is_forgotten_where_there_are_too_many() -> None:
    reservoirs = Reservoirs(most=2)
    for sort in "abc":
        kept(reservoirs, [0.1], size=1, sort=sort)
    assert kept(reservoirs, [0.9], size=1, sort="c") == []
    assert kept(reservoirs, [0.9], size=1, sort="a") == [1.0]
