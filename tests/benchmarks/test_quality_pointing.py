import json
from pathlib import Path

import pytest

from benchmarks.quality_pointing import NOTHING, offers, pointing, question
from benchmarks.quality_task import Example, Splits

TOOL = {
    "name": "area",
    "parameters": {
        "properties": {
            "base": {"type": "integer", "description": "The base."},
            "height": {"type": "integer", "description": "The height."},
            "unit": {"type": "string", "enum": ["cm", "inch"], "description": "The unit."},
        },
        "required": ["base", "height"],
    },
}


def example(base: int, height: int, unit: str = "") -> Example:
    asks = f"How large is a triangle of base {base} and height {height}" + (f" in {unit}?" if unit else "?")
    possible = {"area": {"base": [base], "height": [height], "unit": [unit]}}
    return Example(f"tool area: {{}}\nuser: {asks}\nassistant:", "", "", "", possible=(TOOL, possible))


def test_it_learns_which_number_is_which_and_what_may_be_left_out(tmp_path: Path) -> None:
    train = [example(n, n * 3 + 1, ("", "cm", "inch")[n % 3]) for n in range(2, 40)]
    said = pointing(Splits(train, [], [example(77, 55), example(91, 13, "inch")]), 1, tmp_path)
    assert [json.loads(answer) for answer in said] == [
        {"area": {"base": 77, "height": 55}},
        {"area": {"base": 91, "height": 13, "unit": "inch"}},
    ]


def test_the_question_stands_between_the_tool_and_the_answer() -> None:
    assert question(example(1, 2)) == "How large is a triangle of base 1 and height 2?"


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({"type": "integer"}, [1250, 3]),
        ({"type": "boolean"}, [True, False]),
        ({"type": "string", "enum": ["a", "b"]}, ["a", "b"]),
        ({"type": "array", "items": {"type": "integer"}}, [[1250, 3], [1250], [3], [], []]),
    ],
)
def test_what_could_be_a_value_goes_by_its_type(spec: dict[str, object], values: list[object]) -> None:
    found = [offer.value for offer in offers(spec, True, "pay 1,250 in 3 parts")]
    assert sorted(map(str, found)) == sorted(map(str, values))


def test_a_text_can_be_quoted_a_name_or_a_run_of_words() -> None:
    found = [offer.value for offer in offers({"type": "string"}, True, "play 'so what' by Miles Davis")]
    assert {"so what", "Miles Davis", "play"} <= set(found)


def test_what_is_not_required_may_be_nothing_and_what_has_a_default_may_be_that() -> None:
    found = [offer.value for offer in offers({"type": "integer", "default": 7}, False, "no number")]
    assert found == [NOTHING, 7]
