"""What of personal data is found, measured on a labelled set, and what is left of it in a snapshot."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.controller import snapshot
from services.controller.errors import Refused
from services.controller.redaction import Redactor
from services.tasks import Redaction
from tests.services.controller.test_snapshot import manifest, rows
from tests.services.controller.world import NOON, World, a_candidate, a_golden, a_task

LABELLED = Path(__file__).with_name("redaction_labelled.jsonl")
ALL = Redaction(kinds=("email", "phone", "card", "iban"), patterns={"account": r"\bACC-\d{8}\b"})
MARKS = ALL.model_copy(update={"replace_by": "mark"})


def labelled() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]


def shares() -> tuple[Counter[str], Counter[str], Counter[str]]:
    """By sort: the values there are, those of which nothing is left, and what was taken for one and is none."""
    there, gone, wrongly = Counter[str](), Counter[str](), Counter[str]()
    for one in labelled():
        found = list(Redactor(ALL).found(one["text"]))
        left = one["text"]
        for _, value in found:
            left = left.replace(value, "\0")
        for sort, values in one["values"].items():
            there[sort] += len(values)
            gone[sort] += sum(value not in left and not remains(value, left) for value in values)
        known = [value for values in one["values"].values() for value in values]
        wrongly.update(sort for sort, value in found if not any(value in other or other in value for other in known))
    return there, gone, wrongly


def remains(value: str, left: str) -> bool:
    """Whether a recognisable half of the value is still there."""
    half = value[: len(value) // 2 + 1], value[len(value) // 2 - 1 :]
    return any(part in left for part in half)


def test_misses_on_the_labelled_set_are_few_and_known() -> None:
    there, gone, wrongly = shares()
    missed = {sort: there[sort] - gone[sort] for sort in there if there[sort] > gone[sort]}
    assert missed == {"email": 1, "phone": 1}  # those that are spelt out
    assert there == {"email": 15, "phone": 17, "card": 11, "iban": 9, "account": 4}
    assert wrongly.total() == 0


def test_a_value_is_replaced_alike_in_all_texts_of_a_row() -> None:
    texts = {"prompt": "mail jane@example.com\n", "completion": '{"to":"jane@example.com"}'}
    told = Redactor(MARKS).redacted(texts)
    assert told == {"prompt": "mail [EMAIL]\n", "completion": '{"to":"[EMAIL]"}'}


def test_a_value_found_in_one_text_is_replaced_where_nothing_would_find_it() -> None:
    told = Redactor(MARKS).redacted({"question": "call 415-555-2671", "answer": "x415-555-2671x"})
    assert told["answer"] == "x[PHONE]x"


def test_a_surrogate_keeps_the_shape_and_tells_nothing() -> None:
    text = "Jane.Doe@example.com, 4111 1111 1111 1111"
    told = Redactor(ALL, key=b"k").redacted({"a": text})["a"]
    assert told != text
    assert [shape(letter) for letter in told] == [shape(letter) for letter in text]
    assert Redactor(ALL, key=b"k").redacted({"a": text})["a"] == told
    assert Redactor(ALL).redacted({"a": text})["a"] != told


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("(415) 555-2671", "+14155552671"),
        ("415.555.2671", "4155552671"),
        ("+44 20 7946 0958", "+442079460958"),
        ("4111 1111 1111 1111", "4111111111111111"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("Jane.Doe@Example.com", "jane.doe@example.com"),
    ],
)
def test_a_value_has_one_surrogate_however_it_is_written(question: str, answer: str) -> None:
    told = Redactor(ALL).redacted({"question": f"take {question}, please", "answer": answer})
    before = told["question"].removeprefix("take ").removesuffix(", please")
    assert [shape(letter) for letter in before] == [shape(letter) for letter in question]
    assert plain(told["answer"]) != plain(answer)
    assert plain(told["answer"]).endswith(plain(before))


def plain(value: str) -> str:
    return "".join(letter for letter in value.casefold() if letter.isalnum())


def test_two_values_have_two_surrogates() -> None:
    told = Redactor(ALL).redacted({"a": "415-555-2671 415-555-2672"})["a"].split()
    assert told[0] != told[1]


def shape(letter: str) -> str:
    return "0" if letter.isdigit() else "a" if letter.islower() else "A" if letter.isupper() else letter


@given(st.text(max_size=60), st.sampled_from(["4111111111111111", "bo@example.se"]))
def test_whatever_stands_around_it_nothing_of_a_value_is_left(around: str, value: str) -> None:
    text = f"{around} {value} {around}"
    assert value not in Redactor(MARKS).redacted({"text": text})["text"]


def test_numbers_without_a_right_checksum_are_no_cards() -> None:
    assert list(Redactor(Redaction(kinds=("card",))).found("4111 1111 1111 1112")) == []
    assert list(Redactor(Redaction(kinds=("iban",))).found("DE89 3704 0044 0532 0130 01")) == []


def test_a_rule_that_looks_for_nothing_changes_nothing() -> None:
    assert Redactor(Redaction()).redacted({"a": "bo@example.se"}) == {"a": "bo@example.se"}


def names(text: str) -> Iterable[tuple[str, str]]:
    """Stands for a recogniser of names."""
    return [("name", word) for word in ("Jane", "Bob", "Ann", "王小明") if word in text]


def test_a_recogniser_of_ones_own_finds_names() -> None:
    rule = Redaction(recogniser=f"{__name__}:names", replace_by="mark")
    assert Redactor(rule).redacted({"a": "Jane met Bob"}) == {"a": "[NAME] met [NAME]"}


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Ann's Annual report, by Ann, Joann and Ann2", "[NAME]'s Annual report, by [NAME], Joann and Ann2"),
        ("Annsche Buchhandlung", "[NAME]sche Buchhandlung"),  # found, so it may not stay
        ("请问王小明先生在吗", "请问[NAME]先生在吗"),
    ],
)
def test_a_name_is_replaced_where_it_is_a_word(text: str, redacted: str) -> None:
    rule = Redaction(recogniser=f"{__name__}:names", replace_by="mark")
    assert Redactor(rule).redacted({"a": text}) == {"a": redacted}


@pytest.mark.parametrize("name", ["nowhere:names", f"{__name__}:nothing", "names"])
def test_one_that_is_not_there_refuses_the_snapshot(name: str) -> None:
    with pytest.raises(Refused, match=r"redaction\.recogniser: .* can't be loaded"):
        Redactor(Redaction(recogniser=name))


def test_a_pattern_that_is_none_is_refused_with_the_task() -> None:
    with pytest.raises(ValidationError, match="account: "):
        Redaction(patterns={"account": "("})


def test_a_snapshot_holds_no_personal_data_but_in_the_golden_set(world: World) -> None:
    world.filled().store.rows["train"].append(
        a_candidate(7, question="is bo@example.se right?", teacher_answer="bo@example.se")
    )
    world.store.rows["golden"].append(a_golden(9, input="is al@example.se wrong?"))
    directory = taken(world)
    [row] = [row for row in rows(directory, "train") if row["id"].endswith("7")]
    assert (row["question"], row["teacher_answer"]) == ("is [EMAIL] right?", "[EMAIL]")
    assert (directory / "train.parquet").read_bytes().find(b"bo@example") == -1
    assert manifest(directory)["counts"]["train"]["redacted"] == {"email": 1}
    assert manifest(directory)["redaction"]["kinds"] == ["email", "phone", "card", "iban"]


def test_what_redaction_makes_equal_to_a_golden_question_is_not_trained_on(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, input="is al@example.se right?"))
    world.store.rows["train"].append(a_candidate(7, question="is bo@example.se right?"))
    directory = taken(world)
    assert manifest(directory)["counts"]["train"]["removed"] == {"its question is in the golden set": 1}


def test_nor_is_held_out_what_it_makes_equal_to_one_in_train(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(7, question="is al@example.se right?"))
    world.store.rows["eval"].append(a_candidate(1007, question="is bo@example.se right?"))
    assert len(rows(taken(world), "eval")) == 2


def taken(world: World) -> Path:
    directory = world.directory / "snapshots" / "labels" / "1"
    task = a_task(redaction=MARKS.model_dump())
    snapshot.take(world.store, snapshot.Order(task, 1, directory, NOON, page_rows=3))
    return directory
