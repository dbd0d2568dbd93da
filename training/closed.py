"""Which fields of JSON answers are chosen from a closed set instead of being taken out of the text; pure.

The rule. What stands in the text is taken out of it: a field whose values do, in at least `STANDS` of the answers that
have one, unless they stand as often in texts that have another value, as where instructions name all there are. Any
other field is a choice if nearly all answers (`CLOSED`) have a value of it that is said `OFTEN`, or none;
only such values are ever chosen. The rest is neither, and its answers can't be learnt.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from services.tagging import Field, Shape
from training import tagging

STANDS: Final = 0.8
"""Of a teacher that errs: a made-up value now and then is no reason to learn a field by heart."""
OFTEN: Final = 3
CLOSED: Final = 0.9
TRIED: Final = 1000  # answers that show whether a field's values stand in the text

Said = tuple[str, dict[str, Any]]
"""A text and the object that was made of it."""


def fields(table: Sequence[tuple[str, str]], most: int) -> list[Field]:
    """The fields of the answers, as `tagging.fields` and `settled` have them. `table` has texts with their answers."""
    return settled(tagging.fields(answer for _, answer in table), table, most)


def settled(fields: Iterable[Field], table: Sequence[tuple[str, str]], most: int) -> list[Field]:
    """The fields, those that are chosen with their values, `most` at most. `table` has texts with their answers."""
    said = [(text, made) for text, answer in table if isinstance(made := tagging.loaded(answer), dict)]
    return [_settled(field, said, most) for field in fields]


def _settled(field: Field, said: Sequence[Said], most: int) -> Field:
    having = _having(field.name, said[:TRIED])
    others = _of_others(having)
    if _stand(having) and not (others and _stand(others)):
        return field
    counts = Counter(tagging.written(made, field.name) for _, made in said)
    values = sorted(value for value, count in counts.items() if count >= OFTEN)
    if not 0 < len(values) <= most or sum(counts[value] for value in values) < CLOSED * len(said):
        return field
    return Field(name=field.name, shape=Shape.CHOICE, values=tuple(values))


def _having(name: str, said: Iterable[Said]) -> list[tuple[str, Any]]:
    """The texts whose answers have the field, with its values."""
    return [(text, made[name]) for text, made in said if json.dumps(made.get(name)) not in tagging.FILLERS]


def _of_others(having: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Texts, each with the value of another one, where that is not its own."""
    return [(text, value) for (text, own), (_, value) in pairwise(having) if own != value]


def _stand(pairs: Sequence[tuple[str, Any]]) -> bool:
    """Whether the values are in the texts, by and large; true of none."""
    return sum(tagging.stands(text, value) for text, value in pairs) >= STANDS * len(pairs)
