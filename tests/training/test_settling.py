"""What becomes of a doubtful answer, as sentences."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from training.contract import Doubtful
from training.doubts import SURE
from training.settling import DOWN_WEIGHT, Fate, Said, Settled, learnt, left_out, settle

WAYS: tuple[Doubtful, ...] = ("leave_out", "down_weight", "relabel")


def same(one: str, other: str) -> bool:
    return one.strip() == other.strip()


def fate(wanted: Doubtful, said: Said, accepted: str = "abc") -> tuple[Fate, str]:
    return settle(wanted, said, same, lambda answer: answer in accepted)


@pytest.mark.parametrize("wanted", WAYS)
def test_what_both_teachers_say_is_kept_whatever_is_wanted(wanted: Doubtful) -> None:
    assert fate(wanted, Said("a", "b", sure=1.0, second=" a")) == ("kept", "")


@pytest.mark.parametrize("second", [None, "b", "c"])
def test_else_the_answer_is_left_out_or_weighs_less_where_that_is_wanted(second: str | None) -> None:
    said = Said("a", "b", sure=1.0, second=second)
    assert fate("leave_out", said) == ("left_out", "")
    assert fate("down_weight", said) == ("down_weighted", "")


def test_another_answer_that_second_teacher_and_students_give_is_learnt_however_sure_they_are() -> None:
    assert fate("relabel", Said("a", "b", sure=0.1, second="b")) == ("relabelled", "b")


def test_the_second_teacher_alone_is_not_believed() -> None:
    assert fate("relabel", Said("a", "c", sure=1.0, second="b")) == ("left_out", "")
    assert fate("relabel", Said("a", "a", sure=1.0, second="b")) == ("left_out", "")
    assert fate("relabel", Said("a", second="b")) == ("left_out", "")


def test_without_a_second_teacher_the_students_must_be_sure() -> None:
    assert fate("relabel", Said("a", "b", sure=SURE)) == ("relabelled", "b")
    assert fate("relabel", Said("a", "b", sure=SURE - 0.01)) == ("left_out", "")


@pytest.mark.parametrize("second", [None, "b"])
def test_an_answer_that_the_validators_refuse_is_not_learnt(second: str | None) -> None:
    assert fate("relabel", Said("a", "b", sure=1.0, second=second), accepted="ac") == ("left_out", "")


ANSWERS = some.sampled_from("abc")


@given(
    some.sampled_from(WAYS),
    some.builds(Said, ANSWERS, some.sampled_from(["", *"abc"]), some.floats(0, 1), some.none() | ANSWERS),
    some.sampled_from(["", "a", "ab", "abc"]),
)
def test_what_is_learnt_instead_has_two_voices_or_sure_students_and_the_validators_consent(
    wanted: Doubtful, said: Said, accepted: str
) -> None:
    found, answer = fate(wanted, said, accepted)
    assert (found == "relabelled") == bool(answer)
    assert (found == "kept") == (said.second == said.teacher)
    if answer:
        assert wanted == "relabel"
        assert answer in accepted
        assert answer != said.teacher
        assert answer == said.students
        assert said.second == answer or (said.second is None and said.sure >= SURE)


def row(place: int) -> dict[str, Any]:
    return {"prompt": f"{place}?", "completion": f"old {place}", "weight": 2.0}


def test_rows_are_learnt_as_settled_and_in_their_order() -> None:
    made: list[tuple[Fate, str, float]] = [
        ("kept", "", 1.0),
        ("relabelled", "new", 1.0),
        ("left_out", "", 1.0),
        ("down_weighted", "", DOWN_WEIGHT),
    ]
    settled = {
        place: Settled(place=place, id="", why="w", fate=fate, completion=answer, weight=weight)
        for place, (fate, answer, weight) in enumerate(made)
    }
    table = [row(place) for place in range(5)]
    assert [(one["completion"], one["weight"]) for one in learnt(table, settled)] == [
        ("old 0", 2.0),
        ("new", 2.0),
        ("old 3", 2.0 * DOWN_WEIGHT),
        ("old 4", 2.0),
    ]
    assert left_out(table, settled) == {"w": 1}
    table[2]["prompt"] = ""  # the student refuses it in any case, and that is counted elsewhere
    assert left_out(table, settled) == {}
