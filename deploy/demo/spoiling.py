"""What the stand-in teacher says: the known answer, or with a stated probability a spoilt one. Pure.

Whether and how an answer is spoilt depends on (seed, text) alone, so the same question always gets the same answer.
"""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import xxhash

Fields = dict[str, Any]

LETTERS_PER_TOKEN: Final = 7
MARKS_PER_TOKEN: Final = 3
PIECE: Final = re.compile(rf" ?[^\W\d_]{{1,{LETTERS_PER_TOKEN}}}|\d{{1,3}}| ?(?:[^\s\w]|_){{1,{MARKS_PER_TOKEN}}}|\s+")


@dataclass(frozen=True)
class Oracle:
    """The known answers by text, spoilt for `error_rate` (0 to 1) of the texts. JSON objects are spoilt field by
    field; any other answer becomes another one of those known."""

    answers: Mapping[str, str | Fields]
    error_rate: float
    seed: int

    def answer(self, text: str) -> str | None:
        """The answer's text; None where the text is not known."""
        known = self.answers.get(normal(text))
        if known is None:
            return None
        rng = draw(self.seed, text)
        if rng.random() >= self.error_rate:
            return as_text(known)
        return as_text(spoil(known, rng)) if isinstance(known, dict) else mistake(known, self._labels, rng)

    def guess(self, text: str) -> str:
        """What to say to a text that is not known: the commonest label, or the text as a street."""
        return self._labels[0] if self._labels else as_text({"street": normal(text)})

    @cached_property
    def _labels(self) -> list[str]:
        """The labels known, the commonest first, ties by their letters."""
        counts = Counter(answer for answer in self.answers.values() if isinstance(answer, str))
        return sorted(counts, key=lambda label: (-counts[label], label))


def read_answers(lines: Iterator[str]) -> dict[str, str | Fields]:
    """The answers by text from JSON lines `{"text": ..., "answer": {...} or "..."}`; ValueError names a bad line."""
    answers: dict[str, str | Fields] = {}
    for number, line in enumerate(lines, start=1):
        match _json(line):
            case {"text": str(text), "answer": str(answer)}:
                fields = _json(answer)
                answers[normal(text)] = fields if isinstance(fields, dict) else answer
            case {"text": str(text), "answer": dict(fields)}:
                answers[normal(text)] = fields
            case _:
                raise ValueError(
                    f'line {number}: want {{"text": "...", "answer": {{...}} or "..."}}, got {line[:80]!r}'
                )
    return answers


def spoil(truth: Fields, rng: random.Random) -> Fields:
    """`truth` with one mistake that a model makes, always different from it: two fields swapped, a field dropped or
    merged into its neighbour, a word moved to the neighbour, a digit lost. The order of the fields stays."""
    ways = list(WAYS)
    rng.shuffle(ways)
    options = (option for way in ways if (option := way(truth, rng)) is not None and option != truth)
    return next(options, {"other": "unknown"})  # Nothing to spoil in an empty answer: it gets a field too many.


def mistake(label: str, labels: list[str], rng: random.Random) -> str:
    """Another of the labels; a word of its own where there is no other."""
    others = [other for other in labels if other != label]
    return rng.choice(others) if others else f"not {label}"


def draw(seed: int, text: str, salt: str = "") -> random.Random:
    """Numbers that depend on the arguments alone, the same on every machine."""
    return random.Random(xxhash.xxh3_64_intdigest(f"{seed}\0{salt}\0{normal(text)}".encode()))  # noqa: S311


def normal(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())


def as_text(answer: str | Fields) -> str:
    """A label as it is, fields as compact JSON."""
    return answer if isinstance(answer, str) else json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def tokens(text: str) -> list[str]:
    """The text in pieces about as long as GPT-4's tokens: words up to 7 letters, 3 digits, 3 marks.

    On addresses, their answers and their instructions their number is within 7 % of GPT-4's own tokeniser, whose
    vocabulary would have to be downloaded.
    """
    return PIECE.findall(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _swap(truth: Fields, rng: random.Random) -> Fields | None:
    pairs = [(a, b) for a in truth for b in truth if a < b and truth[a] != truth[b]]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return {**truth, a: truth[b], b: truth[a]}


def _drop(truth: Fields, rng: random.Random) -> Fields | None:
    if len(truth) < 2:
        return None
    return _without(truth, rng.choice(list(truth)))


def _merge(truth: Fields, rng: random.Random) -> Fields | None:
    pairs = _neighbours(truth)
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return _without({**truth, a: f"{truth[a]} {truth[b]}"}, b)


def _move_word(truth: Fields, rng: random.Random) -> Fields | None:
    """The last word of a field goes to its right neighbour, or the first one to its left neighbour."""
    options = []
    for a, b in _neighbours(truth):
        left, right = truth[a].split(), truth[b].split()
        if len(left) > 1:
            options.append({**truth, a: " ".join(left[:-1]), b: " ".join([left[-1], *right])})
        if len(right) > 1:
            options.append({**truth, a: " ".join([*left, right[0]]), b: " ".join(right[1:])})
    return rng.choice(options) if options else None


def _lose_digit(truth: Fields, rng: random.Random) -> Fields | None:
    places = [
        (field, i)
        for field, value in truth.items()
        if isinstance(value, str) and len(value) > 1
        for i, mark in enumerate(value)
        if mark.isdigit()
    ]
    if not places:
        return None
    field, i = rng.choice(places)
    return {**truth, field: truth[field][:i] + truth[field][i + 1 :]}


def _neighbours(truth: Fields) -> list[tuple[str, str]]:
    texts = [field for field, value in truth.items() if isinstance(value, str)]
    return list(itertools.pairwise(texts))


def _without(truth: Fields, field: str) -> Fields:
    return {name: value for name, value in truth.items() if name != field}


WAYS: Final[tuple[Callable[[Fields, random.Random], Fields | None], ...]] = (
    _swap,
    _drop,
    _merge,
    _move_word,
    _lose_digit,
)
