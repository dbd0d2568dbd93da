"""A training split as linear students see it: sheets of bags of features, each with the label that was given; pure.

Answers in JSON make one sheet of the pieces of the texts with their tags, and one of whole texts for each field that is
chosen (`closed`): how sure a student can be of a tag says nothing of how sure one can be of a choice, so each learns by
itself. Where most can't be made so, or are no JSON, but are so few different ones that they count as labels, they make
one of whole texts.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from services import tagging as pieces
from services.tagging import Field
from training import closed, tagging
from training.data import Row
from training.linear import MOST_LABELS, Bag, aligned, of_pieces, of_text

TRIED: Final = 200  # rows that show whether answers can be made of parts


@dataclass(frozen=True)
class Sheet:
    """Bags of features with the labels that were given to them."""

    bags: list[Bag]
    labels: list[str | None]  # None: not to be learnt from
    places: list[int]  # the bags' rows, ascending


Read = Callable[[int, Sequence[Sequence[str]]], str]
"""The answer to a row that labels spell: for each sheet those of the row's bags."""


def sheets(table: Sequence[Row], refused: Set[int]) -> tuple[list[Sheet], Read]:
    """The sheets of a split, and what spells answers. From rows that are `refused` nothing is to be learnt."""
    taught = [row for place, row in enumerate(table) if place not in refused]
    return _of_labels(table, refused) if are_labels(taught) else _of_fields(table, refused)


def are_labels(table: Sequence[Row]) -> bool:
    """Whether whole answers count as labels: few different ones, each given often, of no parts to be judged by."""
    different = {row["completion"].strip() for row in table}
    return len(different) <= min(MOST_LABELS, len(table) // 2) and not _have_parts(table)


def in_parts(table: Sequence[Row]) -> Iterator[bool]:
    """Row by row, whether the answer can be made of tags and choices."""
    told = [(row["prompt"], row["completion"]) for row in table]
    known = {field.name: field for field in closed.fields(told, MOST_LABELS)}
    return (bool(aligned(text, answer, known)) for text, answer in told)


def _have_parts(table: Sequence[Row]) -> bool:
    some = list(islice(in_parts(table), TRIED))
    return 2 * sum(some) > len(some)


def _of_labels(table: Sequence[Row], refused: Set[int]) -> tuple[list[Sheet], Read]:
    labels = [None if place in refused else row["completion"].strip() for place, row in enumerate(table)]
    whole = Sheet([of_text(row["prompt"]) for row in table], labels, list(range(len(table))))
    return [whole], lambda _, said: said[0][0]


def _of_fields(table: Sequence[Row], refused: Set[int]) -> tuple[list[Sheet], Read]:
    """A field that can neither be tagged nor chosen is no reason not to judge what another one chooses."""
    taught = [(row["prompt"], row["completion"]) for place, row in enumerate(table) if place not in refused]
    fields = closed.fields(taught, MOST_LABELS)
    known = {field.name: field for field in fields}
    tags = [[] if at in refused else aligned(row["prompt"], row["completion"], known) for at, row in enumerate(table)]
    choices = pieces.choices(fields)
    made = [None if at in refused else tagging.loaded(row["completion"]) for at, row in enumerate(table)]
    whole, places = [of_text(row["prompt"]) for row in table], list(range(len(table)))
    own = [Sheet(whole, [_value(one, field) for one in made], places) for field in choices]
    return [_pieces(table, tags), *own], _speller(table, fields, [field.name for field in choices])


def _value(made: Any, field: Field) -> str | None:
    """What a field has in an answer, if it is one of its values."""
    value = tagging.written(made, field.name) if isinstance(made, dict) else None
    return value if value in field.values else None


def _pieces(table: Sequence[Row], tags: Sequence[Sequence[str]]) -> Sheet:
    bags, labels, places = list[Bag](), list[str | None](), list[int]()
    for place, (row, found) in enumerate(zip(table, tags, strict=True)):
        own = of_pieces(row["prompt"])
        bags += own
        labels += found or [None] * len(own)
        places += [place] * len(own)
    return Sheet(bags, labels, places)


def _speller(table: Sequence[Row], fields: Sequence[Field], names: Sequence[str]) -> Read:
    def read(place: int, said: Sequence[Sequence[str]]) -> str:
        text, (tags, *values) = table[place]["prompt"], said
        chosen = {name: value for name, (value,) in zip(names, values, strict=True)}
        return pieces.answer(text, pieces.spans(text), tags, fields, chosen)

    return read
