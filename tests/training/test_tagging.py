import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagging import Field, Shape, answer, spans
from training.tagging import NOT_AN_OBJECT, NOT_THERE, READS_BACK, Unaligned, align, fields, scattered

NAMES = ("city", "street", "zip")
WORDS = st.text("abcdefg0123é", min_size=1, max_size=4)
MARKS = st.sampled_from(["", " ", ", ", " - ", "\n", "; "])


def aligned(text: str, made: dict[str, Any], *others: dict[str, Any]) -> list[str]:
    answers = [json.dumps(value) for value in (made, *others)]
    return align(text, answers[0], {field.name: field for field in fields(answers)})


def read_back(text: str, made: dict[str, Any], tagged: list[str]) -> Any:
    return json.loads(answer(text, spans(text), tagged, fields([json.dumps(made)])))


@st.composite
def values_in_order(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A text, and fields whose values stand in it once, in one piece each, in some order."""
    words = draw(st.lists(WORDS, min_size=6, max_size=12, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, len(words)), min_size=6, max_size=6, unique=True)))
    names = draw(st.permutations(NAMES))
    texts = [" ".join(words[start:end]) for start, end in zip(cuts[::2], cuts[1::2], strict=True)]
    rest = [" ".join(words[start:end]) for start, end in zip([0, *cuts[1::2]], [*cuts[::2], len(words)], strict=True)]
    mixed = [part for pair in zip(rest, [*texts, ""], strict=True) for part in pair if part]
    joined = "".join(part + draw(MARKS.filter(str.strip)) for part in mixed)
    return joined, dict(zip(names, texts, strict=True))


@st.composite
def words_dealt_out(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A text of different words, each dealt out to one of the fields or to none, wherever it stands."""
    words = draw(st.lists(WORDS, min_size=1, max_size=12, unique=True))
    dealt = [draw(st.sampled_from([*NAMES, None])) for _ in words]
    made = {name: " ".join(w for w, to in zip(words, dealt, strict=True) if to == name) for name in NAMES}
    return " ".join(words), {name: value for name, value in made.items() if value}


@given(values_in_order())
def test_values_that_stand_in_the_text_once_read_back_as_they_were(case: tuple[str, dict[str, str]]) -> None:
    text, made = case
    assert read_back(text, made, aligned(text, made)) == made


@given(words_dealt_out())
def test_words_that_stand_apart_read_back_as_they_were(case: tuple[str, dict[str, str]]) -> None:
    text, made = case
    assert read_back(text, made, aligned(text, made)) == made


@given(
    st.lists(st.sampled_from(["a", "b", "a b", ",", "1"]), max_size=8).map(" ".join),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["a", "b", "a b", "b a", "1", "", "x"]), max_size=3),
)
def test_with_repeated_words_an_answer_is_refused_or_reads_back(text: str, made: dict[str, str]) -> None:
    try:
        tagged = aligned(text, made)
    except Unaligned:
        return
    assert read_back(text, made, tagged) == made


def test_the_value_with_the_fewest_places_goes_first() -> None:
    tagged = aligned("Washington St Washington DC", {"city": "Washington", "street": "Washington St"})
    assert tagged == ["I-street", "I-street", "I-city", "O"]


def test_of_equals_the_first_in_the_answer_stands_leftmost() -> None:
    tagged = aligned("New York, New York", {"city": "New York", "state": "New York"})
    assert tagged == ["I-city", "I-city", "O", "I-state", "I-state"]


def test_words_of_one_field_that_stand_apart_are_found_in_the_fewest_runs() -> None:
    text = "Attn: Maria Lopez, Harbor Tower, 40 s. lake st."
    tagged = aligned(text, {"name": "Attn Maria Lopez Harbor Tower", "street": "s. lake st."})
    assert " ".join(tagged) == (
        "I-name O I-name I-name O I-name I-name O O I-street I-street I-street I-street I-street"
    )


def test_the_fewest_runs_win_over_the_leftmost_words() -> None:
    assert scattered(["a", "x", "a", "b", "y", "c"], ["a", "b", "c"]) == [2, 3, 5]
    assert scattered(["a", None, "a", "a"], ["a", "a"]) == [2, 3]


def test_the_items_of_a_list_begin_each() -> None:
    tagged = aligned("rye bread, milk", {"items": ["rye bread", "milk"]})
    assert tagged == ["B-items", "I-items", "O", "B-items"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"city": "boise"}, NOT_THERE),  # spelt otherwise
        ({"city": "Boise", "state": "Boise"}, NOT_THERE),  # once there, meant twice
        ({"city": "ID Boise"}, NOT_THERE),  # in another order
        ({"city": "Boise ,"}, READS_BACK),  # spaced otherwise
        ({"items": ["ID", "Boise"]}, READS_BACK),  # a list's order is the text's
        ({"city": {"name": "Boise"}}, NOT_AN_OBJECT),
        ({"city": True}, NOT_AN_OBJECT),
        ({"city": " "}, NOT_THERE),
    ],
)
def test_what_tags_cannot_say_is_refused_with_the_reason(made: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unaligned, match=reason):
        aligned("Boise, ID", made)


@pytest.mark.parametrize("text", ["Boise", "[1]", '"Boise"', "{", ""])
def test_an_answer_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Unaligned, match=NOT_AN_OBJECT):
        align("Boise", text, {})


def test_a_field_that_is_usually_null_is_written_so() -> None:
    answers = ['{"city":"Boise","unit":null}', '{"city":"Boise","unit":null}', '{"city":"Boise","unit":"4"}']
    known = fields(answers)
    assert known == [Field(name="city"), Field(name="unit", missing="null")]
    assert align("Boise 4", answers[0], {field.name: field for field in known}) == ["I-city", "O"]
    with pytest.raises(Unaligned, match=READS_BACK):
        align("Boise 4", '{"city":"Boise"}', {field.name: field for field in known})


def test_fields_have_their_usual_shape_and_order() -> None:
    answers = ['{"count":2,"what":"eggs"}', '{"count":"two","what":"eggs"}', '{"count":3,"what":"eggs","who":["Ann"]}']
    assert [(field.name, field.shape) for field in fields([*answers, "no JSON"])] == [
        ("count", Shape.NUMBER),
        ("what", Shape.TEXT),
        ("who", Shape.LIST),
    ]
