"""From a teacher's JSON answer to a tag for each piece of the text that it was asked about; pure.

The rule. Every value must stand in the text, piece by piece and in the same spelling, and no piece serves two values.
Values that stand in one piece of text go first, those with the fewest free places before the others, each to the
leftmost of its places; then those whose words stand apart, in as few runs as possible and the leftmost of these. An
answer is aligned only if its tags read back as the same answer; the others are left out, counted by reason. Fields
that are chosen (`closed`) need no place in the text, but a value that is one of theirs.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from services.tagging import OUTSIDE, Field, Shape, Span, answer, bare, choices, is_number, spans

NOT_AN_OBJECT: Final = "the answer is not a JSON object of texts, numbers and lists of texts"
NOT_THERE: Final = "a value does not stand in the input"
UNHEARD: Final = "a value is none of those that others have, too"
READS_BACK: Final = "its tags would read back as another answer"
FILLERS: Final = ("null", '""', "[]")


class Unaligned(Exception):  # noqa: N818 - an answer that is
    """The answer can't be said in tags; the message is the reason."""


@dataclass(frozen=True)
class _Wanted:
    """A value to be placed."""

    field: Field
    text: str

    @cached_property
    def pieces(self) -> list[str]:
        return _pieces(self.text)


def fields(answers: Iterable[str]) -> list[Field]:
    """The fields of JSON answers: their usual shapes, what stands for no value, in their usual order."""
    objects = [value for text in answers if isinstance(value := loaded(text), dict)]
    shapes: dict[str, Counter[Shape]] = {}
    fillers: dict[str, Counter[str]] = {}
    places: dict[str, list[float]] = {}
    for made in objects:
        for place, (name, value) in enumerate(made.items()):
            places.setdefault(name, []).append(place / len(made))
            filler = json.dumps(value)
            if filler in FILLERS:
                fillers.setdefault(name, Counter())[filler] += 1
            elif shape := _shape(value):
                shapes.setdefault(name, Counter())[shape] += 1
    order = sorted(places, key=lambda name: sum(places[name]) / len(places[name]))
    return [_field(name, shapes.get(name), fillers.get(name), len(objects) - len(places[name])) for name in order]


def align(text: str, teacher_answer: str, known: Mapping[str, Field]) -> list[str]:
    """A tag for each of the text's pieces. Raises Unaligned with the reason. `known` are the fields by name."""
    places = spans(text)
    tagged = [OUTSIDE] * len(places)
    todo = _wanted(teacher_answer, known)
    while todo:
        value, taken = _next(text, places, [tag == OUTSIDE for tag in tagged], todo)
        for nth, place in enumerate(taken):
            tagged[place] = value.field.tag(begins=nth == 0)
        todo.remove(value)
    read = answer(text, places, tagged, list(known.values()), chosen(teacher_answer, known))
    if _canonical(read) != _canonical(teacher_answer):
        raise Unaligned(READS_BACK)
    return tagged


def chosen(teacher_answer: str, known: Mapping[str, Field]) -> dict[str, str]:
    """The values of the fields that are chosen, as `Field.values` has them. Raises Unaligned if one is none of them."""
    made = loaded(teacher_answer)
    values = {field.name: written(made, field.name) for field in choices(list(known.values()))}
    if any(value not in known[name].values for name, value in values.items()):
        raise Unaligned(UNHEARD)
    return values


def written(made: Mapping[str, Any], name: str) -> str:
    """A field's value in an object as compact JSON; '' where it has none."""
    return json.dumps(made[name], ensure_ascii=False, separators=(",", ":")) if name in made else ""


def stands(text: str, value: Any) -> bool:
    """Whether a field's value is in the text, piece by piece, in whatever places."""
    try:
        return bool(_shape(value)) and all(scattered(_pieces(text), _pieces(one)) for one in _texts(value))
    except Unaligned:
        return False


def _next(
    text: str, places: Sequence[Span], free: Sequence[bool], todo: Sequence[_Wanted]
) -> tuple[_Wanted, list[int]]:
    """The value to place now, and the indices of its pieces."""
    pieces = [text[start:end] if left else None for (start, end), left in zip(places, free, strict=True)]
    starts = [(value, [at for at in _matches(pieces, value) if _same(text, places, at, value)]) for value in todo]
    if found := [pair for pair in starts if pair[1]]:
        value, first = min(found, key=lambda pair: len(pair[1]))  # of equals the first, in the answer's order
        return value, list(range(first[0], first[0] + len(value.pieces)))
    value = max(todo, key=lambda value: len(value.pieces))
    return value, scattered(pieces, value.pieces)


def _matches(pieces: Sequence[str | None], value: _Wanted) -> list[int]:
    """Where free pieces side by side are the value's: indices of the first."""
    size = len(value.pieces)
    return [at for at in range(len(pieces) - size + 1) if size and pieces[at : at + size] == value.pieces]


def _same(text: str, places: Sequence[Span], at: int, value: _Wanted) -> bool:
    """Whether the text from that piece on is the value, spaces and all."""
    return bare(text[places[at][0] : places[at + len(value.pieces) - 1][1]]) == bare(value.text)


def scattered(pieces: Sequence[str | None], wanted: Sequence[str]) -> list[int]:
    """Indices of pieces that are the wanted ones, in order, in as few runs as possible, as far left as possible.

    None is a piece that is taken. Raises Unaligned if there are none.
    """
    fresh, going = _runs(pieces, wanted)
    if not wanted or math.isinf(fresh[0][0]):
        raise Unaligned(NOT_THERE)
    chosen: list[int] = []
    at = 0
    for nth, piece in enumerate(wanted):
        best = going[at][nth] if chosen else fresh[at][nth]
        if not (chosen and pieces[at] == piece and going[at + 1][nth + 1] == best):
            while not (pieces[at] == piece and 1 + going[at + 1][nth + 1] == best):
                at += 1
        chosen.append(at)
        at += 1
    return chosen


def _runs(pieces: Sequence[str | None], wanted: Sequence[str]) -> tuple[list[list[float]], list[list[float]]]:
    """The fewest runs that spell wanted[j:] from piece i on, as [i][j]: with a new run, and if one may go on at i."""
    count, size = len(pieces), len(wanted)
    fresh = [[math.inf] * size + [0.0] for _ in range(count + 1)]
    going = [[math.inf] * size + [0.0] for _ in range(count + 1)]
    for i in reversed(range(count)):
        for j in range(size):
            taken = going[i + 1][j + 1] if pieces[i] == wanted[j] else math.inf
            fresh[i][j] = min(fresh[i + 1][j], 1 + taken)
            going[i][j] = min(fresh[i][j], taken)
    return fresh, going


def _wanted(teacher_answer: str, known: Mapping[str, Field]) -> list[_Wanted]:
    made = loaded(teacher_answer)
    if not isinstance(made, dict):
        raise Unaligned(NOT_AN_OBJECT)
    wanted = []
    for name, value in made.items():
        if json.dumps(value) in FILLERS or (name in known and known[name].shape is Shape.CHOICE):
            continue  # whether the field is written so without a value shows when the tags are read back
        if name not in known or not _shape(value):
            raise Unaligned(NOT_AN_OBJECT)
        wanted += [_Wanted(known[name], text) for text in _texts(value)]
    return wanted


def _pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


def _texts(value: Any) -> list[str]:
    """What must stand in the text of a value that has a shape."""
    return value if isinstance(value, list) else [value if isinstance(value, str) else json.dumps(value)]


def _field(name: str, shapes: Counter[Shape] | None, fillers: Counter[str] | None, left_out: int) -> Field:
    shape = shapes.most_common(1)[0][0] if shapes else Shape.TEXT
    filler, times = fillers.most_common(1)[0] if fillers else ("", 0)
    return Field.model_validate({"name": name, "shape": shape, "missing": filler if times > left_out else ""})


def _shape(value: Any) -> Shape | None:
    match value:
        case bool():
            return None
        case str():
            return Shape.TEXT
        case int() | float():
            return Shape.NUMBER if is_number(json.dumps(value)) else None
        case list() if all(isinstance(item, str) for item in value):
            return Shape.LIST
        case _:
            return None


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def loaded(text: str) -> Any:
    """A text as JSON; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
