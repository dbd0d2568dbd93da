"""How large a caller's schema is with its references followed."""

from typing import Any

import pytest

from services.gateway.schema_size import MOST_DEPTH, MOST_PARTS, MOST_PATTERNS, TooLarge, size

TEXT: dict[str, Any] = {"type": "string"}


def doubled(times: int) -> dict[str, Any]:
    """Each definition refers to the next one twice."""
    definitions: dict[str, Any] = {
        f"a{number}": {"allOf": [{"$ref": f"#/$defs/a{number + 1}"}] * 2} for number in range(times)
    }
    return {"$defs": {**definitions, f"a{times}": TEXT}, "$ref": "#/$defs/a0"}


def nested(times: int) -> dict[str, Any]:
    return {"not": nested(times - 1)} if times else TEXT


def test_every_object_and_list_counts():
    assert size({"type": "object", "properties": {"a": TEXT, "b": {"enum": ["x"]}}}).parts == 5


def test_what_is_referred_to_counts_as_often_as_it_is():
    once = size({"$defs": {"a": TEXT}, "properties": {"x": {"$ref": "#/$defs/a"}}})
    twice = size({"$defs": {"a": TEXT}, "properties": {"x": {"$ref": "#/$defs/a"}, "y": {"$ref": "#/$defs/a"}}})
    assert (once.parts, twice.parts) == (4, 6)


def test_what_nobody_refers_to_does_not_count():
    assert size({"$defs": {"a": TEXT}, "definitions": {"b": TEXT}}).parts == 1


def test_a_property_may_be_called_definitions():
    assert size({"properties": {"definitions": {"allOf": [TEXT]}}}).parts == 5


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"next": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_refers_to_itself_is_recursive(schema: dict[str, Any]):
    assert size(schema).is_recursive


def test_others_are_not():
    assert not size(doubled(4)).is_recursive


def test_references_that_double_are_refused_though_they_are_few():
    assert size(doubled(8)).parts < MOST_PARTS
    with pytest.raises(TooLarge, match=f"more than {MOST_PARTS} objects and lists"):
        size(doubled(12))


def test_many_parts_are_refused_though_nothing_refers_to_them():
    with pytest.raises(TooLarge, match=f"more than {MOST_PARTS} objects and lists"):
        size({"$defs": {"a": {"enum": [[] for _ in range(MOST_PARTS)]}}})


def test_a_schema_may_be_as_deep_as_the_limit():
    assert size(nested(MOST_DEPTH - 1)).depth == MOST_DEPTH


@pytest.mark.parametrize(
    "schema",
    [
        nested(MOST_DEPTH),
        {"$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(MOST_DEPTH)}, "$ref": "#/$defs/0"},
        # Looked at from the end, no step goes deep.
        {
            "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(MOST_DEPTH)},
            "allOf": [{"$ref": f"#/$defs/{n}"} for n in range(MOST_DEPTH, -1, -1)],
        },
    ],
)
def test_a_deeper_one_is_refused(schema: dict[str, Any]):
    with pytest.raises(TooLarge, match=f"more than {MOST_DEPTH} objects and lists within one another"):
        size(schema)


def test_patterns_count_where_they_are_written():
    of_names = {"patternProperties": {"^a": TEXT, "^b": TEXT}}
    shared = {"$defs": {"a": {"pattern": "x"}}, "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}, of_names]}
    assert (size(shared).patterns, size(shared).written_patterns) == (4, 3)


def test_more_patterns_are_refused():
    with pytest.raises(TooLarge, match=f"{MOST_PATTERNS + 1} patterns are above the limit of {MOST_PATTERNS}"):
        size({"anyOf": [{"pattern": str(number)} for number in range(MOST_PATTERNS + 1)]})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"$ref": "other.json#/a"}, r"\$ref: 'other.json#/a' is not within the schema"),
        ({"$ref": "#anchor"}, r"\$ref: '#anchor' is not within the schema"),
        ({"$dynamicRef": "#a"}, r"\$dynamicRef is not taken: use \$ref"),
        ({"not": {"$id": "http://a.test/b"}}, r"\$id is taken at the beginning of a schema alone"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "not": {"id": "b"}}, r"\$id is taken"),
    ],
)
def test_what_could_name_something_else_than_it_seems_to_is_refused(schema: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        size(schema)


def test_a_property_may_be_called_id():
    assert size({"$id": "http://a.test/b", "properties": {"$id": TEXT, "id": TEXT, "$ref": TEXT}}).parts == 5


def test_a_reference_may_lead_anywhere_in_the_schema():
    schema = {"properties": {"a/b": {"allOf": [TEXT]}}, "not": {"$ref": "#/properties/a~1b/allOf/0"}}
    assert size(schema).parts == 7
