"""Which of a teacher's answers are likely wrong: validators refuse them, or linear students find them unlikely.

The students never saw the answer that they are asked about. The examples are dealt into folds by their questions; a
student learns from all folds but one and says how likely each label of that one is. Which labels are likely wrong is
decided by confident learning (Northcutt and others 2021, as cleanlab has it), by how often labels are taken for one
another, and only where the student is sure of another one: else what is rare would be doubted for being rare. An answer
in JSON is doubted if a tag of one of its pieces is, or a value that was chosen (`sheets`). Of free texts students say
nothing, none learns from what validators refuse, and what people wrote or confirmed is never doubted.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xxhash
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from training.data import Row
from training.linear import Bag, Linear
from training.sheets import Read, Sheet, sheets
from training.tempering import tempered

FOLDS: Final = 5
FEWEST: Final = 100
"""Examples. Of fewer a student learns too little to doubt its teacher."""
SURE: Final = 0.8
"""How likely the student must find another label, with tempered probabilities: where a teacher errs on 11 %, few can be
above 0.89. On addresses without it more than every fourth that was doubted was right, with it one of ten; of 2,000
reviews that people had labelled 574 were doubted without it, and 17 with it."""
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


@dataclass(frozen=True)
class Doubts:
    """The doubts about a split, in its order."""

    found: list[Doubt]
    judged: bool  # by students: else these are the validators' alone


def about(table: Sequence[Row], refused: Set[int] = frozenset()) -> Doubts:
    """The doubts about a split. `refused`: the places of the rows whose answers validators refuse."""
    refused = {place for place in refused if not table[place]["corrected"]}
    parts, read = sheets(table, refused)
    heard = [Hearing(part, table) for part in parts]
    doubted = {place for one in heard for place in one.doubted if not table[place]["corrected"]} | refused
    told = _teller(heard, read)
    found = [Doubt(place, REFUSED if place in refused else DOUBTED, *told(place)) for place in sorted(doubted)]
    return Doubts(found, any(one.judges for one in heard))


def _teller(heard: Sequence["Hearing"], read: Read) -> Callable[[int], tuple[str, float]]:
    """What gives the students' answer to a row, and how sure they are of its least sure part."""
    able = all(one.able for one in heard) and any(one.judges for one in heard)

    def told(place: int) -> tuple[str, float]:
        said = [one.said(place) for one in heard] if able else []
        sure = min((sure for _, sure in said), default=0.0)
        return (read(place, [labels for labels, _ in said]), sure) if sure else ("", 0.0)

    return told


def doubtful(table: Sequence[Row]) -> set[int]:
    """The places of the rows whose answers are likely wrong."""
    return {doubt.place for doubt in about(table).found}


@dataclass(frozen=True)
class Hearing:
    """What students say of the rows of a sheet that they did not learn from."""

    sheet: Sheet
    table: Sequence[Row]

    @cached_property
    def doubted(self) -> set[int]:
        """The rows of which a label is likely wrong."""
        if not self.judges:
            return set()
        likely = self._likely[self._taught]
        wrong: Any = find_label_issues(self._given, likely, n_jobs=1) & (likely.max(-1) >= SURE)
        return {self.sheet.places[at] for at in self._taught[wrong].tolist()}

    def said(self, place: int) -> tuple[list[str], float]:
        """Their labels for a row's bags, and how sure they are of the least sure one, 0 where it has no bags."""
        start, end = np.searchsorted(self.sheet.places, [place, place + 1]).tolist()
        likely, names = self._likely[start:end], list(self._numbers)
        labels = [names[at] for at in likely.argmax(-1).tolist()]
        return labels, float(likely.max(-1).min()) if labels else 0.0

    @property
    def judges(self) -> bool:
        """Whether there is something to tell apart."""
        return self.able and len(self._numbers) > 1

    @cached_property
    def able(self) -> bool:
        """Whether there is enough to learn from."""
        return len({self.sheet.places[at] for at in self._taught.tolist()}) >= FEWEST

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
        """[bags, labels]: the logarithm of how likely each is to a student that learnt from the other folds."""
        logs = np.full((len(self.sheet.bags), len(self._numbers)), -np.inf)
        folds = np.array([_fold(self.table[place]) for place in self.sheet.places])
        for fold in range(FOLDS):
            inside, outside = np.flatnonzero(folds == fold), self._taught[folds[self._taught] != fold]
            if len(inside) and len(outside):
                labels = [str(self.sheet.labels[at]) for at in outside]
                student = Linear(fold, CAUTIOUS).fit(self._bags(outside), labels)
                columns = np.array([self._numbers[label] for label in student.labels])
                logs[np.ix_(inside, columns)] = student.logs(self._bags(inside))
        return logs

    def _bags(self, places: NDArray[np.int64]) -> list[Bag]:
        return [self.sheet.bags[at] for at in places.tolist()]


def _fold(row: Row) -> int:
    """The same for the same question, so that none is judged by its own double."""
    return xxhash.xxh3_64_intdigest(" ".join(row["question"].casefold().split()).encode()) % FOLDS
