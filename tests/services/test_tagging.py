import json

import pytest

from services.tagging import Field, Labels, Shape, answer, is_number, labels, spans

CITY, NAME = Field(name="city"), Field(name="name")
ITEMS = Field(name="items", shape=Shape.LIST)
COUNT = Field(name="count", shape=Shape.NUMBER)
TOPIC = Field(name="topic", shape=Shape.CHOICE, values=("", '"bug"', "null"))


def read(text: str, tagged: str, *fields: Field) -> str:
    return answer(text, spans(text), tagged.split(), fields)


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


def test_a_piece_is_a_word_or_a_single_mark() -> None:
    assert pieces("Apt. 4B,\tÜber-straße #12 ½") == ["Apt", ".", "4B", ",", "Über", "-", "straße", "#", "12", "½"]
    assert pieces(" \n") == []


def test_side_by_side_is_copied_as_it_stands_and_every_space_is_one_blank() -> None:
    assert read("in St.  Paul-\nNorth now", "O I-city I-city I-city I-city I-city O", CITY) == (
        '{"city":"St. Paul- North"}'
    )


def test_what_stands_apart_is_joined_by_a_blank() -> None:
    text = "Attn: Maria, Harbor Tower, Boise"
    assert read(text, "I-name O I-name O I-name I-name O I-city", CITY, NAME) == (
        '{"city":"Boise","name":"Attn Maria Harbor Tower"}'
    )


def test_each_beginning_is_an_item_of_a_list() -> None:
    text = "milk, rye bread and eggs"
    assert read(text, "B-items O B-items I-items O B-items", ITEMS) == '{"items":["milk","rye bread","eggs"]}'
    assert read(text, "I-items O I-items O O O", ITEMS) == '{"items":["milk rye"]}'  # none begins: one item


@pytest.mark.parametrize(
    ("text", "value"), [("12", "12"), ("-3.5", "-3.5"), ("007", '"007"'), ("a dozen", '"a dozen"')]
)
def test_a_number_is_written_as_one_where_it_is_one(text: str, value: str) -> None:
    assert read(text, " ".join(["I-count"] * len(spans(text))), COUNT) == f'{{"count":{value}}}'


@pytest.mark.parametrize(("missing", "written"), [("", "{}"), ("null", '{"city":null}'), ("[]", '{"city":[]}')])
def test_a_field_without_pieces_is_written_as_its_teacher_writes_it(missing: str, written: str) -> None:
    field = Field.model_validate({"name": "city", "missing": missing})
    assert read("nowhere", "O", field) == written


@pytest.mark.parametrize(
    ("chosen", "written"),
    [('"bug"', '{"topic":"bug","city":"Boise"}'), ("null", '{"topic":null,"city":"Boise"}'), ("", '{"city":"Boise"}')],
)
def test_what_is_chosen_stands_in_its_place_or_is_left_out(chosen: str, written: str) -> None:
    assert answer("in Boise", spans("in Boise"), ["O", "I-city"], [TOPIC, CITY], {"topic": chosen}) == written


def test_the_answer_is_json_whatever_stands_in_the_text() -> None:
    text = 'say "hi\\" now'
    value = json.loads(read(text, "I-name I-name I-name I-name I-name I-name", NAME))["name"]
    assert value == 'say "hi\\" now'


def test_only_lists_have_tags_for_beginnings() -> None:
    assert labels([CITY, ITEMS]) == ("O", "I-city", "B-items", "I-items")


def test_a_choice_has_a_label_for_each_value_which_no_tag_can_be() -> None:
    assert labels([CITY, TOPIC]) == ("O", "I-city", "=topic:", '=topic:"bug"', "=topic:null")


def test_labels_survive_their_file() -> None:
    made = Labels(names=labels([CITY, ITEMS]), fields=(CITY, ITEMS))
    assert Labels.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(("text", "number"), [("0", True), ("1e3", True), ("01", False), ("NaN", False), ("", False)])
def test_a_number_is_what_json_calls_one(text: str, number: bool) -> None:
    assert is_number(text) == number
