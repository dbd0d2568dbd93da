"""What an answer must satisfy to be kept."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.validators import Validator, check_schema, refusal, schema_refusal, words

QUESTION = "115 Dempster Street, Evanston, 60201"
RIGHT = json.dumps({"number": "115", "street": "Dempster Street", "city": "Evanston", "zip": "60201"})
WORDS = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=12)


def validator(**spec: object) -> Validator:
    return TypeAdapter(Validator).validate_python(spec)


GROUNDED = validator(kind="grounded")
COVERS = validator(kind="covers", ignore=["and"])
SCHEMA = validator(kind="json_schema", schema={"type": "object", "required": ["number"]})


def test_an_answer_that_satisfies_all_is_not_refused() -> None:
    assert refusal([SCHEMA, GROUNDED, COVERS], QUESTION, RIGHT) == ""


def test_no_validators_refuse_nothing() -> None:
    assert refusal([], QUESTION, "anything") == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("not json", "json_schema: not JSON"),
        ('{"street": "Dempster Street"}', 'json_schema: "number" is a required property'),
        ('{"number": "116", "street": "Dempster Street"}', "grounded: '116' does not stand in the input"),
        ('{"number": "115", "street": "Street Dempster"}', "grounded: 'Street Dempster' does not stand"),
        ('{"number": "115", "street": "Dempster Street"}', "covers: '60201 evanston' is in no field"),
        ('{"number": "115", "street": "115 Dempster Street", "city": "Evanston", "zip": "60201"}', "used too often"),
    ],
)
def test_a_refusal_names_the_first_validator_and_what_is_wrong(answer: str, why: str) -> None:
    assert why in refusal([SCHEMA, GROUNDED, COVERS], QUESTION, answer)


def test_words_that_need_no_field_may_be_left_out() -> None:
    answer = '{"street": "Juniper", "cross_street": "Oak St"}'
    assert refusal([COVERS], "Juniper and Oak St", answer) == ""


def test_part_of_a_word_is_not_grounded() -> None:
    assert refusal([GROUNDED], "Dempsterville", '{"city": "Dempster"}') != ""


def test_a_label_must_be_one_of_the_set() -> None:
    label = validator(kind="one_of", values=["spam", "ham"])
    assert refusal([label], "q", " ham ") == ""
    assert refusal([label], "q", "eggs") == "one_of: 'eggs' is none of the 2 values"


def test_a_regex_must_match_the_whole_answer() -> None:
    digits = validator(kind="regex", pattern="[0-9]+")
    assert refusal([digits], "q", "42") == ""
    assert refusal([digits], "q", "42 or so") == "regex: does not match [0-9]+"


def test_an_unknown_validator_or_key_is_an_error() -> None:
    with pytest.raises(ValidationError):
        validator(kind="polite")
    with pytest.raises(ValidationError):
        validator(kind="grounded", strictly=True)


@pytest.mark.parametrize("schema", ["", "nonsense", '{"type": 7}'])
def test_what_is_no_schema_is_refused_with_a_reason(schema: str) -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        check_schema(schema)


def test_a_task_whose_schema_is_none_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        validator(kind="json_schema", schema={"type": "bolean"})


def test_a_schema_is_applied_to_json_text() -> None:
    assert schema_refusal('{"type": "object"}', "{}") == ""
    assert schema_refusal('{"type": "object"}', "[]").startswith("json_schema: ")


@given(WORDS)
def test_the_question_itself_cut_into_fields_is_grounded_and_covers(question: list[str]) -> None:
    answer = json.dumps({str(place): word for place, word in enumerate(question)})
    assert refusal([GROUNDED, COVERS], " ".join(question), answer) == ""


@given(WORDS, st.data())
def test_a_dropped_word_never_covers(question: list[str], data: st.DataObject) -> None:
    keep = [word for word in question if word != "and"]
    left = data.draw(st.integers(0, max(len(keep) - 1, 0)))
    answer = json.dumps([word for place, word in enumerate(keep) if place != left])
    assert (refusal([COVERS], " ".join(question), answer) != "") == bool(keep)


@given(st.text(), st.text())
def test_arbitrary_text_never_raises(question: str, answer: str) -> None:
    assert isinstance(refusal([SCHEMA, GROUNDED, COVERS], question, answer), str)
    assert all(word == word.strip() for word in words(question))


def test_a_schema_never_reaches_out_for_another() -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        check_schema('{"$ref": "http://127.0.0.1:1/schema.json"}')


def test_json_nested_without_end_is_not_json() -> None:
    assert "not JSON" in schema_refusal('{"type": "array"}', "[" * 100_000)
    assert refusal([GROUNDED], "q", "[" * 100_000) != "q"
