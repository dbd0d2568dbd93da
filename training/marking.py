"""A wrong answer beside the right one, with the words marked in which they differ; pure.

In the right answer stands as inserted what the other lacks, in the other as deleted what should not be there. JSON
objects are compared field by field and laid out alike, a field a line in the right one's order.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")
MOST_WORDS: Final = 2_000
"""Of a text; matching takes the square of it, and nobody reads more in a table."""


@dataclass(frozen=True)
class Piece:
    """Some words of an answer, and whether they are where the two differ."""

    text: str
    differs: bool


Pair = tuple[Piece, Piece]
Sides = tuple[list[Piece], list[Piece]]


def marked(truth: str, answer: str) -> Sides:
    """The right answer's pieces, and the other's. Long texts are cut, and end with an ellipsis."""
    meant, said = _object(truth), _object(answer)
    if meant is None or said is None:
        return _sides(_compared(truth, answer))
    found = _sides(_fields(meant, said))
    # Without quotes a number and its text look alike; then the answers stand as they were written.
    return found if any(piece.differs for side in found for piece in side) else _sides(_compared(truth, answer))


def _fields(meant: dict[str, Any], said: dict[str, Any]) -> Iterator[Pair]:
    """Line after line."""
    for name in [*meant, *(name for name in said if name not in meant)]:
        if name in meant and name in said:
            yield _same(f"{name}: ")
            yield from _compared(_value(meant[name]), _value(said[name]))
            yield _same("\n")
        else:
            yield Piece(_line(name, meant), True), Piece(_line(name, said), True)


def _line(name: str, fields: dict[str, Any]) -> str:
    """Empty where there is no such field."""
    return f"{name}: {_value(fields[name])}\n" if name in fields else ""


def _compared(truth: str, answer: str) -> Iterator[Pair]:
    meant, said = _words(truth), _words(answer)
    for step, a, b, c, d in difflib.SequenceMatcher(None, meant, said, autojunk=False).get_opcodes():
        yield Piece("".join(meant[a:b]), step != "equal"), Piece("".join(said[c:d]), step != "equal")


def _same(text: str) -> Pair:
    return Piece(text, False), Piece(text, False)


def _sides(pairs: Iterator[Pair]) -> Sides:
    """Without the empty pieces, which stand where the other side alone has words."""
    both = list(pairs)
    return [piece for piece, _ in both if piece.text], [piece for _, piece in both if piece.text]


def _value(value: Any) -> str:
    """A text stands without quotes: who reads it looks for words."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _words(text: str) -> list[str]:
    words = WORDS.findall(text)
    return words if len(words) <= MOST_WORDS else [*words[:MOST_WORDS], " …"]
