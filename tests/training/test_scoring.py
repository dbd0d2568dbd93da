from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import scoring

flags = st.lists(st.booleans(), min_size=1, max_size=60)


def test_json_is_right_by_value_whatever_its_spelling() -> None:
    assert scoring.right("json", '{"a": "1", "b": "2"}', '{"b":"2","a":"1"}')
    assert not scoring.right("json", '{"a":"1"}', '{"a":"1","b":"2"}')
    assert not scoring.right("json", '{"a":"1"}', '{"a":1}')
    assert not scoring.right("json", '{"a":"1"}', '{"a":"1"')


def test_labels_and_texts_are_right_but_for_outer_space() -> None:
    assert scoring.right("label", "yes", " yes\n")
    assert not scoring.right("text", "Yes", "yes")


@given(flags)
def test_the_interval_contains_the_error(wrong: list[bool]) -> None:
    error, low, high = scoring.error_interval(wrong)
    assert 0 <= low <= error <= high <= 1
    assert error == pytest.approx(sum(wrong) / len(wrong))


@given(flags, st.randoms())
def test_the_order_of_examples_changes_no_error(wrong: list[bool], random: Random) -> None:
    mixed = list(wrong)
    random.shuffle(mixed)
    assert scoring.error_interval(mixed) == scoring.error_interval(wrong)


def test_more_examples_narrow_the_interval() -> None:
    _, low, high = scoring.error_interval([True] * 5 + [False] * 45)
    _, lower, higher = scoring.error_interval([True] * 50 + [False] * 450)
    assert higher - lower < high - low


def test_nothing_is_known_of_no_answers() -> None:
    assert scoring.error_interval([]) == (0.0, 0.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_difference_lies_in_its_interval_and_turns_round_with_its_sides(pairs: list[tuple[bool, bool]]) -> None:
    ours, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    there, back = scoring.difference(ours, theirs), scoring.difference(theirs, ours)
    assert -1 <= there.low <= there.difference <= there.high <= 1
    assert there.difference == -back.difference


def test_equal_answers_are_no_proof_of_equality() -> None:
    few = np.zeros(20, dtype=bool)
    gap = scoring.difference(few, few)
    assert gap.low < 0 < gap.high


def test_a_clear_difference_is_clear() -> None:
    gap = scoring.difference(np.arange(500) < 15, np.arange(500) >= 445)
    assert gap.difference == pytest.approx(-0.08)
    assert gap.high < 0


def test_a_field_counts_if_it_is_there_with_the_right_value() -> None:
    truths = ['{"city":"Rome","zip":"1"}', '{"city":"Oslo"}']
    answers = ['{"city":"Rome"}', '{"city":"Bonn","zip":"2"}']
    found = scoring.fields(truths, answers)
    assert (found["city"].precision, found["city"].recall, found["city"].f1) == (0.5, 0.5, 0.5)
    assert (found["zip"].precision, found["zip"].recall, found["zip"].f1) == (0.0, 0.0, 0.0)


def test_an_answer_that_is_no_json_object_has_no_fields() -> None:
    found = scoring.fields(['{"a":"1"}', '{"a":"1"}'], ["[1]", "oh"])
    assert found["a"].recall == 0


def test_each_kind_is_scored_for_itself() -> None:
    scores = scoring.kinds(np.array([True, False, False]), ["hard", "easy", "easy"])
    assert (scores["hard"].n, scores["hard"].error) == (1, 1.0)
    assert (scores["easy"].n, scores["easy"].error) == (2, 0.0)


def test_quantiles_run_from_the_least_to_the_most() -> None:
    found = scoring.quantiles([5.0, 1.0, 3.0])
    assert (len(found), found[0], found[50], found[100]) == (101, 1.0, 3.0, 5.0)
