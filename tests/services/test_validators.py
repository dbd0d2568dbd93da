"""What an answer must satisfy to be kept."""

import json
import pickle
import re
from decimal import Decimal

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


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("5", ""),
        (" 5.0 ", ""),
        ("10", ""),
        ("0", ""),
        ("10.0001", "range: the answer is 10.0001, above 10"),
        ("-1", "range: the answer is -1, below 0"),
        ("five", "range: the answer is 'five', not a number"),
        ("nan", "range: the answer is 'nan', not a number"),
        ("Infinity", "range: the answer is 'Infinity', not a number"),
    ],
)
def test_an_answer_that_is_a_number_lies_within_the_limits(answer: str, why: str) -> None:
    assert refusal([validator(kind="range", least=0, most=10)], "q", answer) == why


@pytest.mark.parametrize(
    ("field", "answer", "why"),
    [
        ("total.amount", {"total": {"amount": 5}}, ""),
        ("total.amount", {"total": {"amount": "5.50"}}, ""),
        ("items.1", {"items": [99, 3]}, ""),
        ("/items/0/a.b~1c", {"items": [{"a.b/c": 7}]}, ""),
        ("total.amount", {"total": {"amount": 11}}, "range: total.amount is 11, above 10"),
        ("total.amount", {"total": 11}, "range: total.amount is missing"),
        ("total", {"total": None}, "range: total is missing"),
        ("total", {"total": True}, "range: total is 'True', not a number"),
        ("items.2", {"items": [1]}, "range: items.2 is missing"),
        ("items.-1", {"items": [1]}, "range: items.-1 is missing"),
        ("", {"a": 1}, "range: the answer is '{\"a\": 1}', not a number"),
    ],
)
def test_a_field_of_the_answer_lies_within_the_limits(field: str, answer: object, why: str) -> None:
    assert refusal([validator(kind="range", field=field, least=0, most=10)], "q", json.dumps(answer)) == why


def test_a_field_that_is_optional_may_be_missing_but_not_beyond() -> None:
    amount = validator(kind="range", field="amount", most=10, optional=True)
    assert refusal([amount], "q", "{}") == ""
    assert refusal([amount], "q", '{"amount": 11}') != ""
    assert refusal([amount], "q", "no JSON").startswith("range: not JSON")


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(-1000, 1000), st.decimals(-1000, 1000))
def test_what_lies_between_is_accepted_and_nothing_else(number: Decimal, one: Decimal, other: Decimal) -> None:
    least, most = sorted((one, other))
    said = refusal([validator(kind="range", least=least, most=most)], "q", str(number))
    assert (said == "") == (least <= number <= most)


LEAVES = st.none() | st.booleans() | st.floats() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(JSON)
def test_whatever_the_answer_is_a_range_says_yes_or_no(value: object) -> None:
    said = refusal([validator(kind="range", field="a.0", most=1)], "q", json.dumps(value))
    assert said == "" or said.startswith(("range: ", "empty: "))


@pytest.mark.parametrize("limits", [{}, {"least": 2, "most": 1}])
def test_a_range_without_room_is_an_error(limits: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="range: "):
        validator(kind="range", **limits)


def even_number(_question: str, answer: str) -> object:
    """What a user may write: it refuses, raises and returns nonsense."""
    if answer == "nothing":
        return None
    return "" if int(answer) % 2 == 0 else f"{answer} is odd"


EVEN = validator(kind="python", function=f"{__name__}:even_number")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("2", ""),
        ("3", "python: 3 is odd"),
        ("x", f"python: {__name__}:even_number raises ValueError: invalid literal for int()"),
        ("nothing", f"python: {__name__}:even_number returns NoneType, not a text"),
    ],
)
def test_a_function_of_ones_own_says_why_and_takes_nothing_down(answer: str, why: str) -> None:
    assert refusal([EVEN], "q", answer).startswith(why)
    assert bool(why) == bool(refusal([EVEN], "q", answer))


def test_a_function_that_says_much_is_cut() -> None:
    assert len(refusal([EVEN], "q", "1" * 1001)) == 200


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("no_such_module_at_all:f", "No module named 'no_such_module_at_all'"),
        ("json:no_such", "module 'json' has no attribute 'no_such'"),
        ("json:decoder", "json:decoder is no function"),
        ("json.loads", "String should match pattern"),
        ("os:system('x')", "String should match pattern"),
    ],
)
def test_a_function_that_is_not_there_is_an_error_that_names_it(function: str, why: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(why)):
        validator(kind="python", function=function)


def test_a_validator_with_a_function_goes_to_another_process_and_comes_back() -> None:
    again = pickle.loads(pickle.dumps(EVEN))  # noqa: S301 - our own
    assert refusal([again], "q", "3") == "python: 3 is odd"
    assert TypeAdapter(Validator).validate_json(EVEN.model_dump_json()) == EVEN
