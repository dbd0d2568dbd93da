"""When memory is given back."""

from services.gateway.memory import WORTH_CALLS, Trimming, trim


def trims(*open_calls: int) -> list[int]:
    """At which of the looks it was given back."""
    place, found = 0, []
    trimming = Trimming(lambda: open_calls[place], lambda: found.append(place))
    for place in range(len(open_calls)):  # noqa: B007 - the functions above look at it
        trimming.look()
    return found


def test_it_is_given_back_once_when_a_crowd_has_gone() -> None:
    assert trims(0, 10 * WORTH_CALLS, 10, 10, 10) == [2]


def test_it_is_kept_while_most_of_the_crowd_is_there() -> None:
    assert trims(10 * WORTH_CALLS, 6 * WORTH_CALLS) == []


def test_a_few_calls_are_not_worth_it() -> None:
    assert trims(WORTH_CALLS - 1, 0) == []


def test_the_next_crowd_counts_anew() -> None:
    assert trims(2 * WORTH_CALLS, 0, 2 * WORTH_CALLS, 0) == [1, 3]


def test_the_allocator_takes_it() -> None:
    trim()
