"""A golden example that is learnt from proves nothing: it is found in the files, whoever made them."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import example, golden_example, write_rows
from training import data, leaking
from training.contract import AnswerKind, Leaks

LONG = "please deliver the parcel with the broken lid to the old mill behind the station of the harbour"


def apart(
    directory: Path,
    train: list[dict[str, Any]],
    golden: list[dict[str, Any]],
    held_out: list[dict[str, Any]] | None = None,
    kind: AnswerKind = "label",
) -> tuple[list[str], Leaks]:
    """The ids of the golden examples that stay."""
    write_rows(directory, {"train": train, "eval": held_out or [example(900)], "golden": golden})
    clean, leaks = leaking.apart(directory, data.rows(directory, "golden"), kind)
    return [row["id"] for row in clean], leaks


def golden(index: int, **changes: Any) -> dict[str, Any]:
    return {**golden_example(index), **changes}


def test_a_clean_split_stays_whole(tmp_path: Path) -> None:
    train = [example(index) for index in range(50)]
    assert apart(tmp_path, train, [golden(2000), golden(2001)]) == (["2000", "2001"], Leaks())


def test_the_same_question_is_found_whatever_its_case_spaces_and_answer(tmp_path: Path) -> None:
    copied = {**example(7), "question": " 2000  OAK st", "completion": "{}"}
    assert apart(tmp_path, [copied], [golden(2000), golden(2001)]) == (["2001"], Leaks(questions=1))


def test_what_is_tuned_on_counts_as_learnt(tmp_path: Path) -> None:
    train, tuned = [example(1)], [example(2001)]
    assert apart(tmp_path, train, [golden(2000), golden(2001)], tuned) == (["2000"], Leaks(questions=1))


def test_nearly_the_same_question_with_the_same_answer_is_found(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": "mill"}
    kept = golden(2001)
    assert apart(tmp_path, [near], [golden(2000, question=LONG, truth="Mill"), kept]) == (["2001"], Leaks(near=1))


def test_nearly_the_same_question_with_another_answer_is_another_example(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": "harbour"}
    assert apart(tmp_path, [near], [golden(2000, question=LONG, truth="mill")])[1] == Leaks()


def test_the_order_of_keys_makes_no_other_answer(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": '{"to":"mill","what":"parcel"}'}
    proving = [golden(2000, question=LONG, truth='{"what": "parcel", "to": "mill"}'), golden(2001)]
    assert apart(tmp_path, [near], proving, kind="json") == (["2001"], Leaks(near=1))


def test_nor_does_a_teacher_that_errs_on_both_alike(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": "harbour"}
    proving = [golden(2000, question=LONG, truth="mill", teacher_answer="harbour"), golden(2001)]
    assert apart(tmp_path, [near], proving) == (["2001"], Leaks(near=1))


def test_of_free_texts_nearly_the_same_question_is_found_whatever_the_answer(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": "It goes to the mill."}
    proving = [golden(2000, question=LONG, truth="To the old mill, please."), golden(2001)]
    assert apart(tmp_path, [near], proving, kind="text") == (["2001"], Leaks(near=1))


def test_a_task_that_counts_equal_questions_alone_as_near_has_its_way(tmp_path: Path) -> None:
    near = {**example(1), "question": f"{LONG}!", "completion": "mill"}
    write_rows(
        tmp_path, {"train": [near], "eval": [example(900)], "golden": [golden(2000, question=LONG, truth="mill")]}
    )
    proving = data.rows(tmp_path, "golden")
    (tmp_path / "manifest.json").write_text('{"split_proof": {"similarity": 1}}', encoding="utf-8")
    assert leaking.apart(tmp_path, proving, "label") == (proving, Leaks())


def test_all_that_is_learnt_is_looked_at_however_much_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaking, "LEARNT_AT_ONCE", 3)
    monkeypatch.setattr(leaking, "AT_ONCE", 2)
    texts = [f"{LONG} {letter * 30}" for letter in "abcdefgh"]
    train = [{**example(index), "question": text, "completion": "mill"} for index, text in enumerate(texts)]
    proving = [
        golden(2000 + index, question=f"{text}!", truth="mill") for index, text in enumerate([*texts, "far off"])
    ]
    assert apart(tmp_path, train, proving) == (["2008"], Leaks(near=8))


def test_questions_that_share_half_are_two(tmp_path: Path) -> None:
    other = {**example(1), "question": f"{LONG[:50]} by the river, and ring the bell there", "completion": "mill"}
    assert apart(tmp_path, [other], [golden(2000, question=LONG, truth="mill")])[1] == Leaks()


@pytest.mark.parametrize("column", ["group_key", "group_digest"])
def test_a_group_on_both_sides_is_found(tmp_path: Path, column: str) -> None:
    train = [{**example(index), column: f"customer {index}"} for index in range(5)]
    proving = [golden(2000, **{column: "customer 3"}), golden(2001, **{column: "customer 9"})]
    assert apart(tmp_path, train, proving) == (["2001"], Leaks(groups=1))


def test_examples_of_nobody_share_no_group(tmp_path: Path) -> None:
    assert apart(tmp_path, [{**example(1), "group_key": ""}], [golden(2000, group_key="")])[1] == Leaks()


def test_a_split_that_leaked_altogether_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leaked split: every golden example"):
        apart(tmp_path, [example(2000), example(2001)], [golden(2000), golden(2001)])
