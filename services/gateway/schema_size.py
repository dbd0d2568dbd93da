"""How large a caller's JSON Schema is with its references followed: what checking an answer costs. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

MOST_PARTS: Final = 5_000
"""Objects and lists of a request's schemas, each `$ref` followed: OpenAI takes 5,000 properties. 20 ms to compile."""
MOST_DEPTH: Final = 64
"""Objects and lists within one another, each `$ref` followed; OpenAI takes ten levels of objects, which are some 30."""
MOST_PATTERNS: Final = 100
"""`pattern`s and `patternProperties` that are written in a request's schemas."""
FOREIGN: Final = ("$dynamicRef", "$recursiveRef")
DEFINITIONS: Final = ("$defs", "definitions")


class TooLarge(ValueError):  # noqa: N818 - it names what the schema is
    """The text names the limit."""


class Size(NamedTuple):
    """Of a schema or of several; `parts` are objects and lists."""

    parts: int = 0  # With each `$ref` followed, one back to where it comes from aside.
    patterns: int = 0  # The same.
    depth: int = 0
    is_recursive: bool = False
    written_patterns: int = 0

    def check(self) -> None:
        """Raises TooLarge beyond a limit."""
        if self.parts > MOST_PARTS:
            raise TooLarge(f"more than {MOST_PARTS} objects and lists, with each $ref followed: ask for less at a time")
        if self.depth > MOST_DEPTH:
            raise TooLarge(f"more than {MOST_DEPTH} objects and lists within one another, with each $ref followed")
        if self.written_patterns > MOST_PATTERNS:
            raise TooLarge(f"{self.written_patterns} patterns are above the limit of {MOST_PATTERNS}")

    def beside(self, other: "Size") -> "Size":
        """Both together."""
        return Size(
            self.parts + other.parts,
            self.patterns + other.patterns,
            max(self.depth, other.depth),
            self.is_recursive or other.is_recursive,
            self.written_patterns + other.written_patterns,
        )


def size(schema: Any) -> Size:
    """Its size. Raises TooLarge beyond a limit, ValueError for a reference that can't be followed."""
    whole = Size(written_patterns=_written_patterns(schema))
    whole.check()
    return whole.beside(_Walk(schema).visit(schema, 1))


def target(schema: Any, reference: str) -> Any:
    """What `#` or `#/a/b` names in a schema; None where there is nothing. Raises ValueError for any other."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(f"$ref: {reference[:64]!r} is not within the schema: name it like #/$defs/name")
    found = schema
    for name in reference.split("/")[1:]:
        key = unquote(name).replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(found):
            found = found[int(key[:9])]
        else:
            return None
    return found


def _written_patterns(schema: Any) -> int:
    """How many there are. Raises ValueError for what would let a `$ref` name something else than it seems to."""
    ids = ("$id", "id") if isinstance(schema, dict) and "draft-04" in str(schema.get("$schema")) else ("$id",)
    patterns, parts = 0, [schema]
    for part in parts:
        if isinstance(part, dict):
            patterns += _patterns(part)
            texts = {name for name in (*ids, *FOREIGN) if isinstance(part.get(name), str)}
            if foreign := texts.intersection(FOREIGN):
                raise ValueError(f"{min(foreign)} is not taken: use $ref")
            if texts and part is not schema:
                raise ValueError("$id is taken at the beginning of a schema alone")
        parts.extend(_inner(part))
        Size(len(parts)).check()
    return patterns


def _inner(part: Any) -> Iterator[Any]:
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return (value for value in values if isinstance(value, dict | list))


class _Walk:
    """Counts what a validator meets that follows every reference; what is referred to is looked at once."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        # As long as a target is being counted, whoever comes to it is within it.
        self._known = {"#": Size(is_recursive=True)}

    def visit(self, part: Any, depth: int) -> Size:
        """Of a part that many objects and lists deep."""
        if depth > MOST_DEPTH:
            Size(depth=depth).check()
        found = Size(parts=1)
        if isinstance(part, dict):
            found = Size(parts=1, patterns=_patterns(part))
            if isinstance(reference := part.get("$ref"), str):
                found = found.beside(self._referred(reference or "#", depth))
            if part is self._schema:  # Its definitions count where they are referred to.
                part = {name: value for name, value in part.items() if name not in DEFINITIONS}
        for inner in _inner(part):
            found = found.beside(self.visit(inner, depth + 1))
            if found.parts > MOST_PARTS:
                break
        found = found._replace(depth=found.depth + 1)
        found.check()
        return found

    def _referred(self, reference: str, depth: int) -> Size:
        if reference not in self._known:
            self._known[reference] = Size(is_recursive=True)
            self._known[reference] = self.visit(target(self._schema, reference), depth + 1)
        return self._known[reference]


def _patterns(part: dict[str, Any]) -> int:
    by_name = part.get("patternProperties")
    return isinstance(part.get("pattern"), str) + (len(by_name) if isinstance(by_name, dict) else 0)
