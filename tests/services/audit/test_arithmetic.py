"""What an audit concludes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.audit.arithmetic import (
    Course,
    Look,
    Range,
    audit,
    count,
    ranges_of,
    settled,
    up_to,
    without,
)

NUMBERS = st.sets(st.integers(1, 60))


def numbers(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def a_look(answered: int, acknowledged: int, stored: set[int], course: Course = Course.OPEN) -> Look:
    return Look("s", answered, acknowledged, ranges_of(sorted(set(range(1, answered + 1)) - stored)), course=course)


def test_what_is_stored_whole_is_neither_missing_nor_on_its_way() -> None:
    [account] = audit([a_look(5, 5, {1, 2, 3, 4, 5})], {"s": 5}, {}).sources
    assert (account.answered, account.stored, account.in_flight, account.dead, account.missing) == (5, 5, 0, 0, 0)


def test_what_kafka_had_at_an_earlier_look_and_is_not_stored_is_missing() -> None:
    before = a_look(4, 4, {1, 2})
    [account] = audit([a_look(6, 6, {1, 2, 4})], settled([before]), {}).sources
    assert (account.missing, account.missing_at, account.in_flight) == (1, [(3, 3)], 2)


def test_without_an_earlier_look_nothing_is_called_missing() -> None:
    [account] = audit([a_look(4, 4, {1})], {}, {}).sources
    assert (account.missing, account.in_flight) == (0, 3)


def test_what_kafka_has_not_acknowledged_is_in_flight_however_long_it_takes() -> None:
    look = a_look(10, 3, {1, 2, 3})
    [account] = audit([look], settled([look]), {}).sources
    assert (account.missing, account.in_flight) == (0, 7)


def test_what_a_gateway_that_fell_silent_had_not_brought_to_kafka_is_missing() -> None:
    look = a_look(10, 3, {1, 2, 3}, Course.SILENT)
    [account] = audit([look], settled([look]), {}).sources
    assert (account.missing, account.missing_at) == (7, [(4, 10)])


def test_the_tail_of_a_source_that_ended_is_missing_if_it_never_came() -> None:
    look = a_look(10, 10, set(range(1, 8)), Course.ENDED)
    [account] = audit([look], settled([look]), {}).sources
    assert account.missing_at == [(8, 10)]


def test_what_lies_in_the_dead_letters_is_told_apart_until_it_is_stored() -> None:
    look = a_look(5, 5, {1, 3, 4})
    [account] = audit([look], settled([look]), {"s": {2, 3}}).sources
    assert (account.dead, account.missing_at) == (1, [(5, 5)])


def test_the_worst_source_comes_first_and_all_are_summed() -> None:
    looks = [Look("good", 3, 3), Look("bad", 5, 5, [(2, 3)], put_aside=1), Look("worse", 9, 9, [(1, 4)], oldest_s=7.0)]
    found = audit(looks, settled(looks), {})
    assert [one.source for one in found.sources] == ["worse", "bad", "good"]
    total = found.total
    assert (total.answered, total.stored, total.missing, total.put_aside, total.oldest_s) == (17, 11, 6, 1, 7.0)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 90), NUMBERS, NUMBERS)
def test_every_answered_exchange_is_counted_in_one_place(
    answered: int, acknowledged: int, bound: int, stored: set[int], dead: set[int]
) -> None:
    stored = {one for one in stored if one <= answered}
    look = a_look(answered, min(acknowledged, answered), stored)
    [account] = audit([look], {"s": bound}, {"s": dead}).sources
    assert account.answered == account.stored + account.in_flight + account.dead + account.missing
    holes = set(range(1, answered + 1)) - stored
    assert account.stored == len(stored)
    assert account.dead == len(holes & dead)
    assert numbers(list(account.missing_at)) == {one for one in holes - dead if one <= bound}


@given(NUMBERS, NUMBERS, st.integers(0, 60))
def test_ranges_are_sets_of_numbers(some: set[int], others: set[int], bound: int) -> None:
    ranges = ranges_of(sorted(some))
    assert numbers(ranges) == some
    assert count(ranges) == len(some)
    assert numbers(without(ranges, others)) == some - others
    assert numbers(up_to(ranges, bound)) == {one for one in some if one <= bound}
    assert all(first[1] + 1 < second[0] for first, second in pairwise(ranges))
