"""Which label was taken for which, as a matrix; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.contract import Confused

MOST: Final = 12
"""Labels a side that a reader still takes in; of more the list of the commonest says more."""
WHOLE: Final = 100
"""So many pairs a report holds at most: a list as long may have been cut."""


@dataclass(frozen=True)
class Matrix:
    """Rows by what is right, then by what was answered; labels in their order, answers that are none at the end."""

    answers: list[str]
    rows: dict[str, dict[str, int]]


def matrix(cells: Sequence[Confused]) -> Matrix | None:
    """None where there are no labels, or too many to be taken in."""
    truths = sorted({cell.truth for cell in cells})
    answers = [*truths, *sorted({cell.answer for cell in cells} - set(truths))]
    if not cells or len(cells) >= WHOLE or len(answers) > MOST:
        return None
    counts = {(cell.truth, cell.answer): cell.n for cell in cells}
    return Matrix(answers, {truth: {answer: counts.get((truth, answer), 0) for answer in answers} for truth in truths})
