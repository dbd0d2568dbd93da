import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagging import Field, Shape, answer, choices, spans
from training import closed, tagging
from training.tagging import UNHEARD, Unaligned

TOPICS = ("bug", "bill", "praise")


def known(*table: tuple[str, Any], most: int = 200) -> dict[str, Field]:
    written = [(text, json.dumps(made)) for text, made in table]
    return {field.name: field for field in closed.settled(tagging.fields(made for _, made in written), written, most)}


def rows(*values: Any, text: str = "order 17 please") -> list[tuple[str, Any]]:
    return [(text, value) for value in values]


def test_what_stands_in_the_text_is_taken_out_of_it_however_few_values_there_are() -> None:
    assert known(*rows(*[{"order": "17"}] * 9))["order"].shape is Shape.TEXT


def test_what_all_texts_name_is_chosen_and_not_taken() -> None:
    """Instructions list what may be answered."""
    texts = [(f"Is order {n} a bug or a bill?", {"topic": ("bug", "bill")[n % 2], "order": str(n)}) for n in range(20)]
    found = known(*texts)
    assert found["topic"].values == ('"bill"', '"bug"')
    assert found["order"].shape is Shape.TEXT


def test_what_does_not_stand_there_is_chosen_of_what_others_have_too() -> None:
    found = known(*rows(*[{"topic": "bug", "order": "17"}, {"topic": "bill", "order": "17"}] * 9))
    assert found["topic"] == Field(name="topic", shape=Shape.CHOICE, values=('"bill"', '"bug"'))
    assert found["order"].shape is Shape.TEXT


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([True, False], ("false", "true")),
        ([3, 4.5], ("3", "4.5")),
        ([None, "high"], ('"high"', "null")),
        ([["a", "b"], []], ('["a","b"]', "[]")),
        ([{"of": "x"}], ('{"of":"x"}',)),
    ],
)
def test_any_json_may_be_chosen(values: list[Any], written: tuple[str, ...]) -> None:
    assert known(*rows(*[{"is": value} for value in values] * 9))["is"].values == written


def test_a_field_that_is_left_out_now_and_then_may_be_left_out() -> None:
    found = known(*rows(*[{"topic": "bug", "order": "17"}, {"order": "17"}] * 9))
    assert found["topic"].values == ("", '"bug"')
    assert tagging.chosen('{"order":"17"}', found) == {"topic": ""}


def test_what_is_said_but_once_or_twice_is_never_chosen_and_its_answers_are_left_out() -> None:
    found = known(*rows(*[{"topic": "bug"}] * 40, {"topic": "bugg"}, {"topic": "bogue"}))
    assert found["topic"].values == ('"bug"',)
    with pytest.raises(Unaligned, match=UNHEARD):
        tagging.align("order 17 please", '{"topic":"bugg"}', found)


def test_what_is_no_closed_set_is_not_chosen() -> None:
    assert known(*rows(*[{"note": f"note {index}"} for index in range(20)]))["note"].shape is Shape.TEXT
    assert known(*rows(*[{"topic": topic} for topic in TOPICS] * 9), most=2)["topic"].shape is Shape.TEXT


def test_a_value_made_up_now_and_then_leaves_the_others_to_be_taken_out_of_their_texts() -> None:
    assert known(*rows(*[{"order": "17"}] * 9, *[{"order": "18"}] * 2))["order"].shape is Shape.TEXT


@given(
    st.lists(
        st.tuples(st.sampled_from(TOPICS), st.booleans(), st.integers(100, 999)),
        min_size=30,
        max_size=40,
    )
)
def test_an_answer_that_is_taken_out_and_chosen_reads_back_as_it_was(drawn: list[tuple[str, bool, int]]) -> None:
    table = [(f"see no. {order}", {"topic": topic, "order": order, "urgent": urgent}) for topic, urgent, order in drawn]
    fields = known(*table)
    for text, made in table:
        written = json.dumps(made)
        try:
            chosen = tagging.chosen(written, fields)
        except Unaligned:  # one of its values was drawn less than three times
            continue
        tags = tagging.align(text, written, fields)
        assert json.loads(answer(text, spans(text), tags, list(fields.values()), chosen)) == made
    assert {field.name for field in choices(list(fields.values()))} <= {"topic", "urgent"}
