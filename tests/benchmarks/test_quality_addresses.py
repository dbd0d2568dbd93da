import json

from benchmarks.quality_addresses import ADDRESSES, as_answer
from benchmarks.quality_task import Example

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
