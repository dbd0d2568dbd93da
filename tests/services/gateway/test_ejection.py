"""Which replicas are left out, said as sentences; and what holds however calls end."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.ejection import (
    FIRST_S,
    FORGOTTEN_S,
    IN_A_ROW,
    LEAST_CALLS,
    MOST_S,
    Ended,
    Health,
    after,
    choices,
    growing_s,
)

Healths = dict[str, Health]


def replicas(count: int) -> Healths:
    return {name: Health() for name in "abcdefgh"[:count]}


def fails(healths: Healths, name: str, times: int = 1, now_s: float = 100.0) -> Healths:
    for _ in range(times):
        healths = healths | {name: after(healths, name, Ended(now_s, failed=True))}
    return healths


def answers(healths: Healths, name: str, times: int = 1, now_s: float = 100.0) -> Healths:
    for _ in range(times):
        healths = healths | {name: after(healths, name, Ended(now_s, failed=False))}
    return healths


def tried(healths: Healths, name: str, failed: bool | None, now_s: float) -> Healths:
    """The one call that tries an ejected replica, from its beginning to its end."""
    healths = healths | {name: replace(healths[name], on_trial=True)}
    return healths | {name: after(healths, name, Ended(now_s, failed, trial=True))}


def test_failures_in_a_row_eject_and_a_success_between_them_does_not():
    once_good = fails(answers(fails(replicas(2), "a", IN_A_ROW - 1), "a"), "a", IN_A_ROW - 1)
    assert not once_good["a"].ejected
    assert fails(once_good, "a")["a"].ejected
    assert choices(fails(once_good, "a"), 100.0) == ["b"]


def test_who_watches_is_told_of_an_ejected_one_for_as_long_as_it_is_tried():
    out = fails(replicas(2), "a", IN_A_ROW)
    assert out["a"].is_left_out(100.0 + FIRST_S + FORGOTTEN_S - 1)
    assert not out["a"].is_left_out(100.0 + FIRST_S + FORGOTTEN_S)
    assert tried(out, "a", failed=True, now_s=200.0)["a"].is_left_out(200.0 + FORGOTTEN_S)
    assert not out["b"].is_left_out(100.0)


def test_what_says_nothing_of_a_replica_is_not_counted():
    healths = fails(replicas(2), "a", IN_A_ROW - 1)
    assert after(healths, "a", Ended(100.0, failed=None)) == healths["a"]


def test_a_replica_that_fails_far_more_often_than_the_others_is_ejected():
    healths = replicas(3)
    for _ in range(int(LEAST_CALLS)):
        healths = fails(answers(answers(answers(healths, "a"), "b"), "c"), "a")
    assert healths["a"].ejected


def test_where_all_fail_as_often_none_is_ejected_by_its_rate():
    healths = replicas(3)
    for _ in range(30):
        for name in healths:
            healths = fails(answers(healths, name), name)
    assert not any(health.ejected for health in healths.values())


def test_what_is_long_ago_weighs_no_more():
    healths = answers(fails(answers(fails(replicas(2), "a", 4), "a"), "a", 4), "a")
    assert answers(healths, "a", now_s=1_000.0)["a"].rate < 0.01


def test_one_alone_is_never_ejected_and_of_three_only_one():
    assert not fails(replicas(1), "a", 50)["a"].ejected
    healths = fails(fails(replicas(3), "a", 50), "b", 50)
    assert [name for name, health in healths.items() if health.ejected] == ["a"]


def test_an_ejected_replica_comes_back_by_one_call_that_succeeds():
    healths = fails(replicas(2), "a", IN_A_ROW)
    assert choices(healths, 100.0 + FIRST_S / 2) == ["b"]
    assert choices(healths, 100.0 + FIRST_S) == ["a"]
    on_trial = healths | {"a": replace(healths["a"], on_trial=True)}
    assert choices(on_trial, 100.0 + FIRST_S) == ["b"]
    assert choices(tried(healths, "a", failed=False, now_s=102.0), 102.0) == ["a", "b"]


def test_a_call_that_was_begun_before_lets_none_back_in():
    healths = fails(replicas(2), "a", IN_A_ROW)
    assert answers(healths, "a") == healths
    assert fails(healths, "a") == healths


def test_a_trial_that_fails_doubles_the_time_out_and_one_that_says_nothing_leaves_it_to_the_next():
    healths = tried(fails(replicas(2), "a", IN_A_ROW), "a", failed=True, now_s=102.0)
    assert healths["a"].until_s == 102.0 + 2 * FIRST_S
    assert choices(tried(healths, "a", failed=None, now_s=105.0), 105.0) == ["a"]


def test_the_time_out_grows_over_several_ejections_and_is_forgotten_after_a_long_good_time():
    back = tried(fails(replicas(2), "a", IN_A_ROW), "a", failed=False, now_s=102.0)
    assert fails(back, "a", IN_A_ROW, now_s=103.0)["a"].until_s == 103.0 + 2 * FIRST_S
    later_s = 103.0 + FORGOTTEN_S
    assert fails(back, "a", IN_A_ROW, now_s=later_s)["a"].until_s == later_s + FIRST_S


@given(times=st.integers(0, 10_000), draw=st.floats(0, 1))
def test_a_growing_time_is_never_less_than_half_of_the_first_nor_more_than_the_most(times: int, draw: float):
    assert FIRST_S / 2 <= growing_s(times, FIRST_S, MOST_S, draw) <= MOST_S


@given(
    count=st.integers(1, 6),
    calls=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([True, False, None]), st.floats(0, 30))),
    draw=st.floats(0, 1),
)
def test_however_calls_end_at_most_half_are_out_and_there_is_a_choice(
    count: int, calls: list[tuple[int, bool | None, float]], draw: float
):
    healths, now_s, names = replicas(count), 0.0, list(replicas(count))
    for place, failed, passed_s in calls:
        now_s += passed_s
        allowed = choices(healths, now_s)
        assert allowed
        name = names[place % count] if names[place % count] in allowed else allowed[0]
        trial = healths[name].ejected
        healths[name] = after(healths, name, Ended(now_s, failed, trial, draw))
        assert sum(health.ejected for health in healths.values()) <= count // 2
