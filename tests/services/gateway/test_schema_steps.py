"""How many steps it takes to check an answer, counted without taking them."""

from typing import Any

import pytest

from services.gateway.schema_steps import MOST_STEPS, TooManySteps, steps

LIST = {"properties": {"next": {"$ref": "#"}}}
TWICE = {"properties": {"next": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}


def chain(length: int) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for _ in range(length):
        answer = {"next": answer}
    return answer


def test_a_list_takes_steps_by_its_length():
    assert steps(LIST, chain(200)) - steps(LIST, chain(100)) == 200


def test_what_is_checked_twice_at_each_level_doubles():
    assert steps(TWICE, chain(11)) > 2 * steps(TWICE, chain(10)) > 2**10


def test_more_than_the_limit_are_not_counted():
    with pytest.raises(TooManySteps):
        steps(TWICE, chain(100))
    assert steps(TWICE, chain(15)) < MOST_STEPS


def test_a_schema_that_goes_round_without_the_answer_ends():
    assert steps({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {}) == 3


@pytest.mark.parametrize(
    ("schema", "answer", "taken"),
    [
        (True, {}, 1),
        ({}, {"a": 1}, 1),
        ({"properties": {"a": {}, "b": {}}}, {"a": 1, "c": 1}, 2),
        ({"additionalProperties": {}, "unevaluatedProperties": False}, {"a": 1, "b": 2}, 5),
        ({"patternProperties": {"^a": {}, "^b": {}}, "propertyNames": {}}, {"a": 1}, 1 + 2 + 2 + 1),
        ({"items": {}, "contains": {}, "unevaluatedItems": {}}, [1, 2], 7),
        ({"items": [{}, {}], "additionalItems": {}}, [1, 2, 3], 6),
        ({"prefixItems": [{}, {}]}, [1], 2),
        ({"anyOf": [{}, {}], "oneOf": [{}], "not": {}, "if": {}, "then": {}, "else": {}}, 1, 8),
        ({"dependentSchemas": {"a": {}}, "dependencies": {"a": {}, "b": ["a"]}}, {}, 4),
        ({"pattern": "a*"}, "a" * 80, 11),
        ({"pattern": "a*"}, 80, 1),
    ],
)
def test_every_part_that_meets_a_part_of_the_answer_is_a_step(schema: Any, answer: Any, taken: int):
    assert steps(schema, answer) == taken


def test_a_wide_schema_and_a_long_answer_are_too_many_together():
    with pytest.raises(TooManySteps):
        steps({"allOf": [{"items": {"type": "integer"}} for _ in range(1_000)]}, [1] * 1_000)
