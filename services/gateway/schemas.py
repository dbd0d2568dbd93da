"""Callers' JSON Schemas: taken within limits, compiled, and answers checked against them.

Those of tasks are their owners' and know no limits: `services.validators`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs
from cachetools import LRUCache, cached

from services.gateway.fields import BadInput
from services.gateway.schema_size import Size, size
from services.gateway.schema_steps import MOST_STEPS, TooManySteps, steps
from services.validators import parsed

PATTERN_BYTES: Final = 131_072
"""Of one pattern, compiled: `.{1,100}` and `[a-z]{1,1000}` fit."""
PATTERNS: Final = jsonschema_rs.FancyRegexOptions(
    size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES, backtrack_limit=10_000
)
CHARACTER_BYTES: Final = 64
"""Of a schema's text, compiled."""
KEPT_BYTES: Final = 64 * 1024**2
MOST_STEPS_TO_TELL: Final = 500
"""To say what is wrong takes a hundred times as long as to find that something is."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One that is taken."""

    parsed: Any
    validator: jsonschema_rs.Validator
    size: Size
    bytes: int  # In memory, at most.


def check_schemas(schemas: Iterable[tuple[str, str]]) -> None:
    """Raises BadInput for the first of a request's schemas, each with its field, that is none or makes too much."""
    whole = Size()
    for field, text in schemas:
        try:
            whole = whole.beside(compiled(text).size)
            whole.check()
        except (ValueError, RecursionError) as problem:
            raise BadInput(f"{field}: not a JSON Schema that is taken: {problem}"[:400]) from problem


def schema_refusal(text: str, answer: str) -> str:
    """Why an answer does not satisfy a schema that was checked (both JSON texts); '' if it does."""
    try:
        return _refusal(compiled(text), parsed(answer), len(answer))
    except TooManySteps:
        return f"json_schema: to check the answer takes more than {MOST_STEPS} steps: nest less, or refer less often"
    except (ValueError, RecursionError) as problem:
        return f"json_schema: not JSON: {problem}"


def _refusal(schema: Schema, answer: Any, characters: int) -> str:
    most = characters * (schema.size.parts + 10 * schema.size.patterns)
    if schema.size.is_recursive or most > MOST_STEPS:
        most = steps(schema.parsed, answer)
    if schema.validator.is_valid(answer):
        return ""
    if schema.size.is_recursive and most > MOST_STEPS_TO_TELL:
        return "json_schema: the answer does not satisfy it"
    error = next(schema.validator.iter_errors(answer), None)
    return f"json_schema: {error.message[:120]}" if error else "json_schema: the answer does not satisfy it"


@cached(LRUCache(KEPT_BYTES, getsizeof=lambda schema: schema.bytes))
def compiled(text: str) -> Schema:
    """The schema. Raises ValueError that says what to change, or RecursionError."""
    found = json.loads(text)
    counted = size(found)
    try:
        # A `$ref` must not reach out.
        validator = jsonschema_rs.validator_for(found, offline=True, pattern_options=PATTERNS)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(_told(str(error.message))) from error
    kept = len(text) * CHARACTER_BYTES + counted.written_patterns * PATTERN_BYTES
    return Schema(found, validator, counted, kept)


def _told(problem: str) -> str:
    first = problem.splitlines()[0]
    if not first.endswith('is not a "regex"'):
        return first
    return f"{first[:200]} of at most {PATTERN_BYTES} bytes, compiled: repeat less, or use maxLength"
