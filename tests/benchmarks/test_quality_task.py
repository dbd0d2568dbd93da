from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality_task import EVAL_SHARE, Example, Splits, apart, drawn, unleaked, write
from training import data


def example(number: int, group: int) -> Example:
    return Example(f"question {number} of {number * 7919}", "yes", f"group {group}", "kind")


MANY = [example(number, number // 3) for number in range(900)]


@given(st.lists(st.integers(0, 30), max_size=60), st.floats(0.05, 0.8))
def test_no_group_stands_on_two_sides_and_nothing_is_lost(groups: list[int], golden_share: float) -> None:
    parts = apart([example(number, group) for number, group in enumerate(groups)], golden_share)
    sides = [{one.group for one in part} for part in parts.values()]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert sum(map(len, parts.values())) == len(groups)


def test_the_shares_are_about_those_asked_for() -> None:
    parts = apart(MANY, 0.3)
    assert 0.2 < len(parts["golden"]) / len(MANY) < 0.4
    assert EVAL_SHARE / 2 < len(parts["eval"]) / len(MANY) < 2 * EVAL_SHARE


def test_the_splits_do_not_depend_on_the_order_in_which_examples_come() -> None:
    assert apart(MANY, 0.2) == apart(reversed(MANY), 0.2)


def test_a_seed_draws_what_is_learnt_from_and_nothing_else() -> None:
    parts = apart(MANY, 0.2)
    one, other = drawn(parts, 100, 1), drawn(parts, 100, 2)
    assert one.train != other.train
    assert len(one.train) == len(other.train) == 100
    assert (one.golden, one.eval) == (other.golden, other.eval)
    assert drawn(parts, 100, 1) == one


def test_a_smaller_draw_is_part_of_a_larger_one() -> None:
    parts = apart(MANY, 0.2)
    assert list(drawn(parts, 200, 1).train[:50]) == list(drawn(parts, 50, 1).train)


def test_golden_examples_that_nearly_stand_among_the_others_are_left_out(tmp_path: Path) -> None:
    sentence = "the picture is very sharp and the sound is good, but the remote control feels cheap to me"
    learnt = [Example(sentence + ".", "neutral", "1", "")]
    fresh = Example("it broke on the second day", "negative", "3", "")
    golden = [Example(sentence.upper(), "neutral", "2", ""), fresh]
    parts = {"train": learnt, "eval": learnt, "golden": golden}
    assert unleaked(parts, 10, tmp_path) == [fresh]


def test_the_dataset_is_one_that_training_reads(tmp_path: Path) -> None:
    splits = Splits(MANY[:5], MANY[5:7], MANY[7:10])
    write(splits, tmp_path)
    assert [row["completion"] for row in data.rows(tmp_path, "train")] == ["yes"] * 5
    assert [row["question"] for row in data.rows(tmp_path, "eval")] == [one.text for one in MANY[5:7]]
    (first, *_) = data.rows(tmp_path, "golden")
    assert (first["prompt"], first["truth"], first["group_key"]) == (MANY[7].text + "\n", "yes", MANY[7].group)
