"""Callers' JSON Schemas, and answers checked against them."""

import json
from typing import Any

import pytest

from services.gateway.fields import BadInput
from services.gateway.schema_size import MOST_PARTS, MOST_PATTERNS
from services.gateway.schemas import PATTERN_BYTES, check_schemas, compiled, schema_refusal

TERM: dict[str, Any] = {
    "$defs": {
        "term": {"anyOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/product"}]},
        "sum": {"properties": {"left": {"$ref": "#/$defs/term"}, "kind": {"const": "sum"}}, "required": ["kind"]},
        "product": {
            "properties": {"left": {"$ref": "#/$defs/term"}, "kind": {"const": "product"}},
            "required": ["kind"],
        },
    },
    "$ref": "#/$defs/term",
}


def term(depth: int, end: str) -> str:
    answer: dict[str, Any] = {"kind": end}
    for _ in range(depth):
        answer = {"kind": "product", "left": answer}
    return json.dumps(answer)


def check(*schemas: Any) -> None:
    check_schemas((f"tools[{place}].parameters", json.dumps(schema)) for place, schema in enumerate(schemas))


def test_schemas_as_callers_make_them_are_taken():
    of_pydantic = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"Price": {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}},
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
            "name": {"type": "string", "pattern": r"^\w{1,255}$"},
            "text": {"type": "string", "pattern": "^.{1,100}$"},
            "price": {"$ref": "#/$defs/Price"},
        },
        "required": ["id"],
        "additionalProperties": False,
    }
    check(of_pydantic, True, TERM, {"type": "object"})
    assert schema_refusal(json.dumps(of_pydantic), '{"price": "1"}') == 'json_schema: "id" is a required property'


@pytest.mark.parametrize("pattern", ["^.{1,9000}$", "("])
def test_a_pattern_that_is_none_or_too_large_is_refused(pattern: str):
    with pytest.raises(BadInput, match=rf'is not a "regex" of at most {PATTERN_BYTES} bytes, compiled: repeat less'):
        check({"pattern": pattern})


def test_limits_hold_for_all_schemas_of_a_request_together():
    half = {"allOf": [{"pattern": str(number)} for number in range(MOST_PATTERNS // 2 + 1)]}
    check(half)
    with pytest.raises(BadInput, match=r"^tools\[1\]\.parameters: .* patterns are above the limit"):
        check(half, half)
    wide = {"enum": [[] for _ in range(MOST_PARTS // 2)]}
    check(wide)
    with pytest.raises(BadInput, match=rf"^tools\[1\]\.parameters: .*more than {MOST_PARTS} objects and lists"):
        check(wide, wide)


@pytest.mark.parametrize("answer", ["{", "[" * 100_000])
def test_an_answer_that_is_no_json_is_refused(answer: str):
    assert schema_refusal("true", answer).startswith("json_schema: not JSON")


def test_a_recursive_schema_accepts_and_refuses():
    assert schema_refusal(json.dumps(TERM), term(8, "sum")) == ""
    assert "is not valid under any" in schema_refusal(json.dumps(TERM), term(1, "difference"))
    assert schema_refusal(json.dumps(TERM), term(12, "difference")) == "json_schema: the answer does not satisfy it"


def test_an_answer_that_would_take_ever_longer_to_check_is_not_checked():
    for end in ("sum", "difference"):
        assert "takes more than 500000 steps" in schema_refusal(json.dumps(TERM), term(40, end))


def test_a_pattern_that_tries_every_way_gives_up():
    schema = {"pattern": "^(?=(a+)+b)(a|aa)+$"}
    check(schema)
    assert schema_refusal(json.dumps(schema), json.dumps("a" * 2_000)).startswith("json_schema: ")


def test_what_is_kept_compiled_is_weighed_by_its_text_and_its_patterns():
    assert compiled('{"pattern": "a"}').bytes > PATTERN_BYTES
    assert compiled('{"enum": ["%s"]}' % ("x" * 10_000)).bytes > 10_000
