"""What an audit concludes."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.audit.arithmetic import (
    Course,
    Look,
    Range,
    audit,
    count,
    joined,
    ranges_of,
    settled,
    up_to,
    within,
    without,
)

NUMBERS = st.sets(st.integers(1, 60))
RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda one: (one[0], sum(one))), max_size=9)
"""In any order, some of them over others."""


def numbers(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def a_look(
    answered: int,
    acknowledged: int,
    stored: set[int],
    course: Course = Course.OPEN,
    written_off: Sequence[Range] = (),
) -> Look:
    holes = ranges_of(sorted(set(range(1, answered + 1)) - stored))
    return Look("s", answered, acknowledged, holes, course=course, written_off=written_off)


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


def test_what_is_stored_was_on_kafka_before_its_gateway_has_told() -> None:
    [account] = audit([a_look(10, 3, {1, 2, 3, 4, 5, 6})], {}, {}).sources
    assert (account.acknowledged, account.stored, account.in_flight) == (6, 6, 4)


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


def test_what_was_written_off_is_not_missing_and_is_told_by_itself() -> None:
    look = a_look(10, 10, {1, 2, 3, 8, 10}, written_off=[(4, 5)])
    [account] = audit([look], settled([look]), {}).sources
    assert (account.written_off, account.written_off_at) == (2, [(4, 5)])
    assert (account.missing, account.missing_at, account.stored) == (3, [(6, 7), (9, 9)], 5)


def test_what_turns_up_after_it_was_written_off_is_stored_and_no_longer_written_off() -> None:
    look = a_look(6, 6, {1, 2, 3, 4}, written_off=[(3, 6)])
    [account] = audit([look], settled([look]), {}).sources
    assert (account.stored, account.written_off, account.missing) == (4, 2, 0)


def test_a_dead_letter_that_was_written_off_is_none_until_it_is_replayed_and_stored() -> None:
    for stored, written_off in (({1, 2, 3, 4}, 2), ({1, 2, 3, 4, 6}, 1)):
        look = a_look(6, 6, stored, written_off=[(3, 6)])
        [account] = audit([look], settled([look]), {"s": {6}}).sources
        assert (account.stored, account.dead, account.missing) == (len(stored), 0, 0)
        assert account.written_off == written_off


def test_the_other_dead_letters_of_a_source_stay_what_they_are() -> None:
    look = a_look(9, 9, {1, 2, 3, 4}, written_off=[(6, 6)])
    [account] = audit([look], settled([look]), {"s": {5, 6, 7}}).sources
    assert (account.dead, account.dead_at) == (2, [(5, 5), (7, 7)])
    assert (account.written_off_at, account.missing_at) == ([(6, 6)], [(8, 9)])


def test_another_loss_of_a_source_that_was_written_off_is_missing() -> None:
    before = a_look(10, 10, {1, 2, 3}, Course.SILENT, [(4, 10)])
    later = a_look(20, 20, {1, 2, 3, *range(12, 21)}, written_off=[(4, 10)])
    assert audit([before], settled([before]), {}).total.missing == 0
    assert audit([later], settled([later]), {}).sources[0].missing_at == [(11, 11)]


@given(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 90)), NUMBERS, NUMBERS, RANGES)
def test_every_answered_exchange_is_counted_in_one_place(
    upto: tuple[int, int, int], stored: set[int], dead: set[int], written_off: list[Range]
) -> None:
    answered, acknowledged, bound = upto
    stored = {one for one in stored if one <= answered}
    look = a_look(answered, min(acknowledged, answered), stored, written_off=written_off)
    [account] = audit([look], {"s": bound}, {"s": dead}).sources
    places = account.stored, account.in_flight, account.dead, account.missing, account.written_off
    assert min(places) >= 0
    assert account.answered == sum(places)
    holes = set(range(1, answered + 1)) - stored
    assert account.stored == len(stored)
    assert account.dead == len((holes & dead) - numbers(written_off))
    assert numbers(list(account.dead_at)) == (holes & dead) - numbers(written_off)
    assert numbers(list(account.written_off_at)) == holes & numbers(written_off)
    assert account.written_off == count(account.written_off_at)
    lacking = holes - dead - numbers(written_off)
    assert numbers(list(account.missing_at)) == {one for one in lacking if one <= bound}


@given(NUMBERS, RANGES, st.integers(0, 60))
def test_ranges_are_sets_of_numbers(some: set[int], others: list[Range], bound: int) -> None:
    ranges = ranges_of(sorted(some))
    assert numbers(ranges) == some
    assert count(ranges) == len(some)
    assert numbers(joined(others)) == numbers(others)
    assert numbers(without(ranges, others)) == some - numbers(others)
    assert numbers(within(ranges, others)) == some & numbers(others)
    assert numbers(up_to(ranges, bound)) == {one for one in some if one <= bound}
    for made in (ranges, joined(others)):
        assert all(first[1] + 1 < second[0] for first, second in pairwise(made))
