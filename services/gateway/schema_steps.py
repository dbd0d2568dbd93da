"""How many steps it takes to check an answer against a JSON Schema, counted without taking them. Pure.

A recursive schema of a few lines can take a number that doubles with each level of the answer.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from services.gateway.schema_size import target

MOST_STEPS: Final = 500_000
"""0.1 s at most, typically far less: a check often ends at the first wrong value."""
MOST_COUNTED: Final = 50_000
"""Meetings of a part of the schema with a part of the answer that are looked at; each takes some microseconds."""
CHARACTERS_A_STEP: Final = 8
"""Of a text that is held against a pattern."""
Pair = tuple[Any, Any]


class TooManySteps(Exception):  # noqa: N818
    """The answer can't be checked in good time."""


def steps(schema: Any, answer: Any) -> int:
    """At most so many it takes. Raises TooManySteps above MOST_STEPS, or where even the counting takes too long."""
    try:
        return _Count(schema).of(schema, answer)
    except RecursionError as error:
        raise TooManySteps from error


class _Count:
    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._known: dict[tuple[int, int], int] = {}
        self._counted = 0

    def of(self, part: Any, value: Any) -> int:
        self._counted += 1
        if self._counted > MOST_COUNTED:
            raise TooManySteps
        if not isinstance(part, dict):
            return 1
        pair = (id(part), id(value))
        if pair in self._known:
            return self._known[pair]
        self._known[pair] = 0  # Whoever comes back here without having gone into the answer goes no further.
        found = 1 + _characters(part, value) + sum(self.of(*inner) for inner in self._inner(part, value))
        self._known[pair] = found
        if found > MOST_STEPS:
            raise TooManySteps
        return found

    def _inner(self, part: dict[str, Any], value: Any) -> Iterator[Pair]:
        if isinstance(reference := part.get("$ref"), str):
            yield target(self._schema, reference or "#"), value
        for name in ("allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"):
            yield from ((one, value) for one in _listed(part.get(name)))
        for name in ("not", "if", "then", "else"):
            if name in part:
                yield part[name], value
        if isinstance(value, dict):
            yield from _of_object(part, value)
        elif isinstance(value, list):
            yield from _of_list(part, value)


def _of_object(part: dict[str, Any], value: dict[str, Any]) -> Iterator[Pair]:
    properties = part.get("properties")
    if isinstance(properties, dict):
        yield from ((properties[name], inner) for name, inner in value.items() if name in properties)
    every = [*_listed(part.get("patternProperties")), part.get("additionalProperties")]
    every.append(part.get("unevaluatedProperties"))
    yield from ((one, inner) for one in every if one is not None for inner in value.values())
    if "propertyNames" in part:
        yield from ((part["propertyNames"], name) for name in value)


def _of_list(part: dict[str, Any], value: list[Any]) -> Iterator[Pair]:
    for name in ("prefixItems", "items"):
        if isinstance(part.get(name), list):
            yield from zip(part[name], value, strict=False)
    for name in ("items", "additionalItems", "contains", "unevaluatedItems"):
        if isinstance(part.get(name), dict):
            yield from ((part[name], inner) for inner in value)


def _characters(part: dict[str, Any], value: Any) -> int:
    if isinstance(value, str):
        return len(value) // CHARACTERS_A_STEP if "pattern" in part else 0
    if isinstance(value, dict) and isinstance(by_name := part.get("patternProperties"), dict):
        return len(by_name) * sum(1 + len(name) // CHARACTERS_A_STEP for name in value)
    return 0


def _listed(parts: Any) -> Iterable[Any]:
    return parts.values() if isinstance(parts, dict) else parts if isinstance(parts, list) else ()
