import json

from benchmarks.quality_addresses import ADDRESSES, as_answer, of_tags
from benchmarks.quality_others import of_words
from benchmarks.quality_task import Example
from services.tagging import spans

LABELLED = [
    ("1306", "AddressNumber"),
    ("Sherman", "StreetName"),
    ("Avenue,", "StreetNamePostType"),
    ("Evanston,", "PlaceName"),
    ("60201", "ZipCode"),
]
TRUTH = {"number": "1306", "street": "Sherman Avenue", "city": "Evanston", "zip": "60201"}


def test_the_parser_s_words_become_the_fields_of_a_truth() -> None:
    assert json.loads(as_answer(LABELLED)) == TRUTH


def test_right_is_what_has_the_same_fields_in_any_order() -> None:
    one = Example("", json.dumps(TRUTH), "", "")
    turned = dict(reversed(TRUTH.items()))
    assert ADDRESSES.right(one, json.dumps(turned))
    assert not ADDRESSES.right(one, json.dumps(TRUTH | {"unit": "4"}))


def test_a_word_has_the_tag_of_its_first_piece_that_is_part_of_the_answer() -> None:
    text = "(12-B) Oak St., Ames"
    tags = ["O", "I-number", "I-unit", "I-unit", "O", "I-street", "I-street", "I-street", "O", "I-city"]
    words = ["(12-B)", "Oak", "St.,", "Ames"]
    assert of_words(text, words, spans(text), tags) == ["I-number", "I-street", "I-street", "I-city"]
    assert json.loads(of_tags(list(zip(words, ["O", "I-street", "I-street", "I-city"], strict=True)))) == {
        "street": "Oak St.",
        "city": "Ames",
    }
