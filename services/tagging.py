"""A text in pieces, a tag for each piece, and the JSON answer that tagged pieces spell; pure. Imports nothing of ours.

The student in Triton reads answers off its tags with this code, and the evaluation with the same code, so that what is
proven is what is served.

The rule. A piece is a word of letters, digits and underscores, or a single other character that is no space. `O` is
no part of the answer; `I-city` belongs to the field `city`; `B-items` begins an item of the list `items`, and
`I-items` goes on with it. Pieces of one field that stand side by side are copied from the text as they stand there,
with every space between them as one blank; those that stand apart are joined by a blank, in the order of the text.
A field of shape `choice` is not taken out of the text: its value is one of a closed set, whatever the text says.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

PIECE = re.compile(r"\w+|[^\w\s]")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
OUTSIDE = "O"
UNUSED_POSITIONS = 2
"""Of a model's positions: RoBERTa's numbering begins at 2, so that its last two can't be used."""
SPECIAL_TOKENS = 2
"""Around a text."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

Span = tuple[int, int]
"""Where a piece stands in its text, in characters: from, up to."""


class Shape(StrEnum):
    """What a field's value is in JSON."""

    TEXT = "text"
    NUMBER = "number"
    LIST = "list"  # of texts
    CHOICE = "choice"  # any JSON, of a closed set


class Field(BaseModel):
    """A field of the answers. `missing` is the JSON that stands for no value; '' leaves the field out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: Shape = Shape.TEXT
    missing: Literal["", "null", '""', "[]"] = ""
    values: tuple[str, ...] = ()  # of a choice: each as compact JSON, '' where the field is left out

    @property
    def labels(self) -> tuple[str, ...]:
        """What a student can say of this field: the tags of its pieces, or each of its values."""
        if self.shape is Shape.CHOICE:
            return tuple(self.label(value) for value in self.values)
        return tuple(dict.fromkeys(self.tag(begins=begins) for begins in (True, False)))

    def label(self, value: str) -> str:
        """What stands for a value that is chosen; it begins as no tag does."""
        return f"={self.name}:{value}"

    def tag(self, *, begins: bool) -> str:
        """The tag of a piece of this field. Only a list's items have a beginning of their own."""
        return f"{'B' if begins and self.shape is Shape.LIST else 'I'}-{self.name}"


class Labels(BaseModel):
    """What an encoder student can say, by the place of its outputs; `labels.json` beside the model.

    With `fields` it tags pieces of the text and chooses, and `names` are the labels of both; without, it gives the
    whole text one of `names`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    fields: tuple[Field, ...] | None = None


def spans(text: str) -> list[Span]:
    """Where the pieces of a text stand."""
    return [match.span() for match in PIECE.finditer(text)]


def labels(fields: Sequence[Field]) -> tuple[str, ...]:
    """All labels that the fields need, `O` first."""
    return (OUTSIDE, *(label for field in fields for label in field.labels))


def choices(fields: Sequence[Field]) -> list[Field]:
    """Those that are not taken out of the text."""
    return [field for field in fields if field.shape is Shape.CHOICE]


def answer(
    text: str,
    places: Sequence[Span],
    tagged: Sequence[str],
    fields: Sequence[Field],
    chosen: Mapping[str, str] = NOTHING,
) -> str:
    """The compact JSON object that the tags (one per place) spell, its fields in the order of `fields`.

    `chosen` has the values of choices by the fields' names.
    """
    items = _items(text, places, tagged)
    read = {field.name: chosen.get(field.name) or None for field in choices(fields)}
    values = {field.name: _value(field, items.get(field.name, [])) for field in fields} | read
    kept = {name: value for name, value in values.items() if value is not None}
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in kept.items()) + "}"


def bare(text: str) -> str:
    """The text with every space as one blank."""
    return " ".join(text.split())


def _items(text: str, places: Sequence[Span], tagged: Sequence[str]) -> dict[str, list[str]]:
    """By field, the texts that its pieces make: a new one at each `B-`."""
    runs: dict[str, list[list[Span]]] = {}
    before = OUTSIDE
    for (start, end), tag in zip(places, tagged, strict=True):
        if tag != OUTSIDE:
            items = runs.setdefault(tag[2:], [])
            if not items or tag.startswith("B-"):
                items.append([(start, end)])
            elif before[2:] == tag[2:]:
                items[-1][-1] = (items[-1][-1][0], end)
            else:
                items[-1].append((start, end))
        before = tag
    return {
        name: [" ".join(bare(text[start:end]) for start, end in item) for item in items] for name, items in runs.items()
    }


def _value(field: Field, items: Sequence[str]) -> str | None:
    """A field's value as JSON; None leaves the field out."""
    if not items:
        return field.missing or None
    if field.shape is Shape.LIST:
        return json.dumps(list(items), ensure_ascii=False, separators=(",", ":"))
    joined = " ".join(items)
    return joined if field.shape is Shape.NUMBER and is_number(joined) else json.dumps(joined, ensure_ascii=False)


def is_number(text: str) -> bool:
    """Whether a text is a number as JSON writes them."""
    return NUMBER.fullmatch(text) is not None
