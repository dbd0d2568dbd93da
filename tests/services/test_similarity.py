from hypothesis import given, settings
from hypothesis import strategies as st

from services.similarity import QUICK, SURE, Neighbours, normalised, sketch

LONG = (
    "Please take the following order apart and name the goods: twelve boxes of blue pencils for room {}, at once,"
    " and whatever else the teachers of that house have asked us for since the beginning of the last week of June."
)


def near(one: str, other: str, similarity: float = 0.9, answers: tuple[str, str] = ("a", "a")) -> bool:
    known = Neighbours(similarity, 10)
    known.add("one", sketch(one, answers[0]))
    return list(known.near(sketch(other, answers[1]))) == ["one"]


def test_questions_are_the_same_without_regard_to_case_and_space() -> None:
    assert normalised(" 12  Main\tST ") == normalised("12 main st")
    assert near(" 12  Main\tST ", "12 main st", similarity=1)


def test_long_questions_that_differ_in_a_letter_are_near_duplicates_and_short_ones_are_not() -> None:
    assert near(LONG.format(7), LONG.format(8))
    assert not near("12 Main St", "13 Main St")
    assert not near(LONG.format(7), LONG.format(8), similarity=1)


def test_nearly_the_same_question_with_another_answer_is_no_duplicate() -> None:
    assert not near(LONG.format(7), LONG.format(8), answers=("room 7", "room 8"))


def test_json_is_the_same_answer_whatever_the_order_of_its_keys() -> None:
    assert near(LONG.format(7), LONG.format(8), answers=('{"room": 7, "of": "A"}', '{"of":"a","room":7}'))
    assert not near(LONG.format(7), LONG.format(8), answers=('{"room": 7}', '{"room": 8}'))


def test_any_answer_will_do_where_that_is_asked_for() -> None:
    known = Neighbours(0.9, 10)
    known.add("one", sketch(LONG.format(7), "Pencils for room 7."))
    assert list(known.near(sketch(LONG.format(8), "Twelve boxes."), any_answer=True)) == ["one"]
    assert not list(known.near(sketch("Who wrote the song?", "Twelve boxes."), any_answer=True))


def test_other_questions_are_apart() -> None:
    assert not near(LONG.format(7), "Who wrote the song that they played at the end of the first evening?")


def test_the_oldest_is_forgotten_first_and_memory_has_a_bound() -> None:
    known = Neighbours(0.9, 2)
    texts = [f"{letter * 40}" for letter in "abc"]
    for text in texts:
        known.add(text, sketch(text, ""))
    assert len(known) == 2
    assert [list(known.near(sketch(text, ""))) for text in texts] == [[], [texts[1]], [texts[2]]]


def test_the_bands_miss_hardly_a_pair_of_the_similarity_that_was_asked_for() -> None:
    assert SURE.found_share(0.9) > 0.9998
    assert QUICK.found_share(0.9) > 0.98
    assert SURE.found_share(0.5) < 0.1


@given(st.text(max_size=80), st.text(max_size=20))
@settings(max_examples=50)
def test_every_text_is_near_itself(text: str, answer: str) -> None:
    assert near(text, text, similarity=1, answers=(answer, answer))
