"""When memory is given back."""

from services.gateway.memory import LOOKS, WORTH_CALLS, Trimming, trim


def trims(*open_calls: int) -> list[int]:
    """At which of the looks it is given back."""
    numbers = iter(open_calls)
    trimming = Trimming(lambda: next(numbers))
    return [look for look in range(len(open_calls)) if trimming.is_due()]


def test_it_is_given_back_for_a_while_when_a_crowd_has_gone() -> None:
    assert trims(0, 10 * WORTH_CALLS, *[10] * 20) == list(range(2, 2 + LOOKS))


def test_it_is_kept_while_most_of_the_crowd_is_there() -> None:
    assert trims(10 * WORTH_CALLS, 6 * WORTH_CALLS) == []


def test_a_few_calls_are_not_worth_it() -> None:
    assert trims(WORTH_CALLS - 1, 0) == []


def test_the_next_crowd_counts_anew() -> None:
    assert trims(2 * WORTH_CALLS, *[0] * LOOKS, 0, 2 * WORTH_CALLS, 0) == [*range(1, 1 + LOOKS), LOOKS + 3]


def test_the_allocator_takes_it() -> None:
    trim()
