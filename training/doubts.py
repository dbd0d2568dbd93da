"""Which of a teacher's answers are likely wrong: those that linear students find unlikely which never saw them.

The examples are dealt into folds by their questions; a student learns from all folds but one and says how likely each
label of that one is. Which labels are likely wrong is decided by confident learning (Northcutt and others 2021, as
cleanlab has it), by how often labels are taken for one another, and only where the student is sure of another one: else
what is rare would be doubted for being rare. An answer in JSON is doubted if a tag of one of its pieces is. Free texts
are not judged, and what people wrote or confirmed is never doubted.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xxhash
from cleanlab.filter import find_label_issues

from training import tagging
from training.data import Row
from training.linear import Bag, Linear, aligned, of_pieces, of_text

FOLDS: Final = 5
FEWEST: Final = 100
"""Examples. Of fewer a student learns too little to doubt its teacher."""
MOST_LABELS: Final = 200
"""Different answers that still count as labels."""
SURE: Final = 0.9
"""How likely the student must find another label. On addresses without it, or with students that are regularised less,
two of five that were doubted were right, nearly all of the messy ones; with both it is one of twelve."""
CAUTIOUS: Final = 1e-4
DOUBTED: Final = "students that never saw its answer find it unlikely"


def doubtful(table: Sequence[Row]) -> set[int]:
    """The places of the rows whose answers are likely wrong."""
    if len(table) < FEWEST:
        return set()
    answers = [row["completion"].strip() for row in table]
    found = _of_labels(table, answers) if len(set(answers)) <= MOST_LABELS else _of_tags(table)
    return {place for place in found if not table[place]["corrected"]}


def believed(table: Sequence[Row]) -> list[Row]:
    """The rows without those."""
    wrong = doubtful(table)
    return [row for place, row in enumerate(table) if place not in wrong]


def _of_labels(table: Sequence[Row], answers: Sequence[str]) -> set[int]:
    return _issues([of_text(row["prompt"]) for row in table], answers, list(range(len(table))), table)


def _of_tags(table: Sequence[Row]) -> set[int]:
    """Of what can't be aligned nothing is known: students that tag leave it out anyway."""
    known = {field.name: field for field in tagging.fields(row["completion"] for row in table)}
    bags, tags, places = list[Bag](), list[str](), list[int]()
    for place, row in enumerate(table):
        if found := aligned(row["prompt"], row["completion"], known):
            bags += of_pieces(row["prompt"])
            tags += found
            places += [place] * len(found)
    return _issues(bags, tags, places, table)


def _issues(bags: Sequence[Bag], labels: Sequence[str], places: Sequence[int], table: Sequence[Row]) -> set[int]:
    """The rows (`places` of the bags) of which a label is likely wrong."""
    names = sorted(set(labels))
    if len(names) < 2:
        return set()
    number = {name: at for at, name in enumerate(names)}
    given = np.array([number[label] for label in labels])
    folds = np.array([_fold(table[place]) for place in places])
    likely = _out_of_fold(bags, labels, folds, number)
    wrong: Any = find_label_issues(given, likely, n_jobs=1) & (likely.max(-1) >= SURE)
    return {places[at] for at in np.flatnonzero(wrong).tolist()}


def _out_of_fold(bags: Sequence[Bag], labels: Sequence[str], folds: Any, number: dict[str, int]) -> Any:
    """[bags, labels]: how likely each label is to a student that learnt from the other folds."""
    likely = np.zeros((len(bags), len(number)))
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        if inside and outside:
            student = Linear(fold, CAUTIOUS).fit([bags[at] for at in outside], [labels[at] for at in outside])
            columns = [number[label] for label in student.labels]
            likely[np.ix_(inside, columns)] = student.probabilities([bags[at] for at in inside])
    return likely


def _fold(row: Row) -> int:
    """The same for the same question, so that none is judged by its own double."""
    return xxhash.xxh3_64_intdigest(" ".join(row["question"].casefold().split()).encode()) % FOLDS
