"""Which of a teacher's answers are likely wrong: validators refuse them, or linear students find them unlikely.

The students never saw the answer that they are asked about. The examples are dealt into folds by their questions; a
student learns from all folds but one and says how likely each label of that one is. Which labels are likely wrong is
decided by confident learning (Northcutt and others 2021, as cleanlab has it), by how often labels are taken for one
another, and only where the student is sure of another one: else what is rare would be doubted for being rare. An answer
in JSON is doubted if a tag of one of its pieces is. Of free texts students say nothing, none learns from what
validators refuse, and what people wrote or confirmed is never doubted.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xxhash
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from services import tagging as pieces
from training import tagging
from training.data import Row
from training.linear import Bag, Linear, aligned, of_pieces, of_text
from training.tempering import tempered

FOLDS: Final = 5
FEWEST: Final = 100
"""Examples. Of fewer a student learns too little to doubt its teacher."""
MOST_LABELS: Final = 200
"""Different answers that still count as labels."""
SURE: Final = 0.85
"""How likely the student must find another label, with tempered probabilities: where a teacher errs on 11 %, none
can be above 0.89. On addresses without it, or with students that are regularised less, two of five that were doubted
were right, nearly all of the messy ones; with both it is one of twelve."""
CAUTIOUS: Final = 1e-4
DOUBTED: Final = "students that never saw its answer find it unlikely"
REFUSED: Final = "validators refuse its answer"


@dataclass(frozen=True)
class Doubt:
    """An answer that is likely wrong, and what the students say instead: '' where they can say nothing."""

    place: int  # of the row
    why: str
    students: str = ""
    sure: float = 0.0  # how likely the least likely part of that is to them, 0 to 1


def found(table: Sequence[Row], refused: Set[int] = frozenset()) -> list[Doubt]:
    """The doubts about a split, in its order. `refused`: the places of the rows whose answers validators refuse."""
    refused = {place for place in refused if not table[place]["corrected"]}
    heard = Hearing(sheet(table, refused), table)
    places = {place for place in heard.doubted if not table[place]["corrected"]} | refused
    return [Doubt(place, REFUSED if place in refused else DOUBTED, *heard.said(place)) for place in sorted(places)]


def doubtful(table: Sequence[Row]) -> set[int]:
    """The places of the rows whose answers are likely wrong."""
    return {doubt.place for doubt in found(table)}


@dataclass(frozen=True)
class Sheet:
    """The rows as students see them: each has one bag for the whole text, or one for each piece of it."""

    bags: list[Bag]
    labels: list[str | None]  # None: not to be learnt from
    places: list[int]  # the bags' rows, ascending
    read: Callable[[int, list[str]], str]  # the answer that labels of a row's bags spell


def sheet(table: Sequence[Row], refused: Set[int]) -> Sheet:
    """By labels if there are few enough; else by tags, as far as the answers can be said in them."""
    answers = [row["completion"].strip() for place, row in enumerate(table) if place not in refused]
    return _of_labels(table, refused) if are_labels(answers) else _of_tags(table, refused)


def are_labels(answers: Sequence[str]) -> bool:
    """Whether answers are so few different ones, and each given so often, that they count as labels."""
    return len(set(answers)) <= min(MOST_LABELS, len(answers) // 2)


def _of_labels(table: Sequence[Row], refused: Set[int]) -> Sheet:
    bags = [of_text(row["prompt"]) for row in table]
    labels = [None if place in refused else row["completion"].strip() for place, row in enumerate(table)]
    return Sheet(bags, labels, list(range(len(table))), lambda _, said: said[0])


def _of_tags(table: Sequence[Row], refused: Set[int]) -> Sheet:
    """Of what can't be aligned nothing is known: students that tag leave it out anyway."""
    fields = tagging.fields(row["completion"] for place, row in enumerate(table) if place not in refused)
    known = {field.name: field for field in fields}
    bags, labels, places = list[Bag](), list[str | None](), list[int]()
    for place, row in enumerate(table):
        own = of_pieces(row["prompt"])
        tags = [None] * len(own) if place in refused else aligned(row["prompt"], row["completion"], known)
        if tags:
            bags += own
            labels += tags
            places += [place] * len(own)

    def read(place: int, tags: list[str]) -> str:
        text = table[place]["prompt"]
        return pieces.answer(text, pieces.spans(text), tags, fields)

    return Sheet(bags, labels, places, read)


@dataclass(frozen=True)
class Hearing:
    """What students say of rows that they did not learn from."""

    sheet: Sheet
    table: Sequence[Row]

    @cached_property
    def doubted(self) -> set[int]:
        """The rows of which a label is likely wrong."""
        if not self._able:
            return set()
        likely = self._likely[self._taught]
        wrong: Any = find_label_issues(self._given, likely, n_jobs=1) & (likely.max(-1) >= SURE)
        return {self.sheet.places[at] for at in self._taught[wrong].tolist()}

    def said(self, place: int) -> tuple[str, float]:
        """Their answer to a row, and how sure they are of its least sure part."""
        start, end = np.searchsorted(self.sheet.places, [place, place + 1]).tolist()
        if start == end or not self._able:
            return "", 0.0
        likely = self._likely[start:end]
        names = list(self._numbers)
        labels = [names[at] for at in likely.argmax(-1).tolist()]
        return self.sheet.read(place, labels), float(likely.max(-1).min())

    @cached_property
    def _able(self) -> bool:
        """Whether there is enough to learn from, and something to tell apart."""
        rows = {self.sheet.places[at] for at in self._taught.tolist()}
        return len(rows) >= FEWEST and len(self._numbers) > 1

    @cached_property
    def _taught(self) -> NDArray[np.int64]:
        return np.flatnonzero([label is not None for label in self.sheet.labels])

    @cached_property
    def _given(self) -> NDArray[np.int64]:
        """The columns of the labels of those that are taught."""
        return np.array([self._numbers[label] for label in self.sheet.labels if label is not None])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The labels' columns."""
        return {name: at for at, name in enumerate(sorted({label for label in self.sheet.labels if label is not None}))}

    @cached_property
    def _likely(self) -> NDArray[np.float64]:
        """[bags, labels]: how likely each label is, as far as students that learnt from the other folds can be sure."""
        return tempered(self._out_of_fold(), self._given, self._taught)

    def _out_of_fold(self) -> NDArray[np.float64]:
        """[bags, labels]: how likely each label is to a student that learnt from the other folds."""
        likely = np.zeros((len(self.sheet.bags), len(self._numbers)))
        folds = np.array([_fold(self.table[place]) for place in self.sheet.places])
        for fold in range(FOLDS):
            inside, outside = np.flatnonzero(folds == fold), self._taught[folds[self._taught] != fold]
            if len(inside) and len(outside):
                labels = [str(self.sheet.labels[at]) for at in outside]
                student = Linear(fold, CAUTIOUS).fit(self._bags(outside), labels)
                columns = np.array([self._numbers[label] for label in student.labels])
                likely[np.ix_(inside, columns)] = student.probabilities(self._bags(inside))
        return likely

    def _bags(self, places: NDArray[np.int64]) -> list[Bag]:
        return [self.sheet.bags[at] for at in places.tolist()]


def _fold(row: Row) -> int:
    """The same for the same question, so that none is judged by its own double."""
    return xxhash.xxh3_64_intdigest(" ".join(row["question"].casefold().split()).encode()) % FOLDS
