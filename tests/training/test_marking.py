import json

from hypothesis import given
from hypothesis import strategies as st

from training.marking import MOST_WORDS, Piece, marked


def shown(pieces: list[Piece]) -> str:
    """What differs stands in brackets."""
    return "".join(f"[{piece.text}]" if piece.differs else piece.text for piece in pieces)


def test_the_words_that_differ_are_marked_on_both_sides() -> None:
    truth, answer = marked("40 s. lake st.", "40 s. lake ave.")
    assert shown(truth) == "40 s. lake [st]."
    assert shown(answer) == "40 s. lake [ave]."


def test_what_is_missing_is_marked_where_it_should_stand_and_what_is_too_much_where_it_stands() -> None:
    truth, answer = marked("billing", "billing, urgent")
    assert shown(truth) == "billing"
    assert shown(answer) == "billing[, urgent]"


def test_objects_stand_a_field_a_line_in_the_right_ones_order() -> None:
    truth, answer = marked('{"number":"12","city":"Ames"}', '{"city": "Ames", "zip": "1", "number": "12"}')
    assert shown(truth) == "number: 12\ncity: Ames\n"
    assert shown(answer) == "number: 12\ncity: Ames\n[zip: 1\n]"


def test_a_value_in_the_wrong_field_is_marked_in_both() -> None:
    truth, answer = marked('{"street":"Tharp Rd","city":"Swisher"}', '{"street":"Tharp Rd Swisher"}')
    assert shown(truth) == "street: Tharp Rd\n[city: Swisher\n]"
    assert shown(answer) == "street: Tharp Rd[ Swisher]\n"


def test_a_number_for_a_text_is_seen() -> None:
    truth, answer = marked('{"number":"12"}', '{"number":12}')
    assert shown(truth) == '{"number":["]12["]}'
    assert shown(answer) == '{"number":12}'


def test_an_answer_that_is_no_object_stands_as_it_is() -> None:
    truth, answer = marked('{"city":"Ames"}', "I am sorry")
    assert "".join(piece.text for piece in truth) == '{"city":"Ames"}'
    assert shown(answer) == "[I am sorry]"


def test_an_empty_answer_has_no_pieces() -> None:
    truth, answer = marked("yes", "")
    assert shown(truth) == "[yes]"
    assert answer == []


def test_long_texts_are_cut() -> None:
    truth, _ = marked("word " * MOST_WORDS, "")
    assert truth[-1].text.endswith(" …")
    assert len("".join(piece.text for piece in truth)) < 5 * MOST_WORDS


@given(st.text(max_size=40), st.text(max_size=40))
def test_texts_are_whole_and_what_is_not_marked_is_common_to_both(one: str, other: str) -> None:
    wanted, given_ = marked(one, other)
    if not (_is_object(one) and _is_object(other)):
        assert "".join(piece.text for piece in wanted) == one
        assert "".join(piece.text for piece in given_) == other
    common = ["".join(piece.text for piece in side if not piece.differs) for side in (wanted, given_)]
    assert common[0] == common[1]


fields = st.dictionaries(st.sampled_from("abc"), st.text("xy ", max_size=6), max_size=3)


@given(fields, fields)
def test_different_objects_always_show_a_difference(one: dict[str, str], other: dict[str, str]) -> None:
    sides = marked(json.dumps(one), json.dumps(other))
    assert any(piece.differs for side in sides for piece in side) or one == other


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
