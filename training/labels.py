"""How well labels are told apart: macro-F1, each label for itself, and which is taken for which; pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from training import resampling
from training.contract import Confused, Difference, FieldScore, Figure

Numbers = NDArray[np.int64]
ELSE = -1
"""An answer that is no label of the golden set's truths."""
MOST_CONFUSED = 100


def macro_f1(truths: Sequence[str], answers: Sequence[str]) -> Figure:
    """Over the labels that truths have."""
    known = _known(truths)
    columns = [_numbered(known, truths), _numbered(known, answers)]
    common = _commonest_of(columns[0])
    value, low, high = resampling.of(columns, _over(len(known)), [[common, common], [common, ELSE]])
    return Figure(value=value, low=low, high=high, n=len(truths))


def macro_f1_difference(truths: Sequence[str], answers: Sequence[str], reference: Sequence[str]) -> Difference:
    """Of two ways of answering the same examples."""
    known = _known(truths)
    over = _over(len(known))

    def less(truth: Numbers, ours: Numbers, theirs: Numbers, axis: int) -> Any:
        return over(truth, ours, axis) - over(truth, theirs, axis)

    columns = [_numbered(known, said) for said in (truths, answers, reference)]
    common = _commonest_of(columns[0])
    value, low, high = resampling.of(columns, less, [[common, common], [common, ELSE], [ELSE, common]])
    return Difference(difference=value, low=low, high=high)


def each(truths: Sequence[str], answers: Sequence[str]) -> dict[str, FieldScore]:
    """Precision, recall and F1 of each label that truths have."""
    known = _known(truths)
    truth, said = _numbered(known, truths), _numbered(known, answers)
    found = precision_recall_fscore_support(truth, said, labels=range(len(known)), zero_division=0.0)
    scores = {}
    for number, name in enumerate(known):
        precision, recall, f1 = (float(found[row][number]) for row in range(3))
        _, low, high = resampling.of([truth == number, said == number], _f1, [[True, True], [True, False]])
        scores[name] = FieldScore(precision=precision, recall=recall, f1=f1, f1_low=low, f1_high=high)
    return scores


def confusion(truths: Sequence[str], answers: Sequence[str]) -> list[Confused]:
    """Which label was answered how often to which; the commonest first."""
    pairs = Counter(zip(map(str.strip, truths), map(str.strip, answers), strict=True))
    return [Confused(truth=truth, answer=answer, n=n) for (truth, answer), n in sorted(pairs.items(), key=_commonest)][
        :MOST_CONFUSED
    ]


def _commonest_of(truth: Numbers) -> int:
    """The label to try the extremes on."""
    return int(np.bincount(truth).argmax())


def _commonest(cell: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -cell[1], cell[0]


def _known(truths: Sequence[str]) -> list[str]:
    return sorted({truth.strip() for truth in truths})


def _numbered(known: Sequence[str], said: Sequence[str]) -> Numbers:
    numbers = {name: number for number, name in enumerate(known)}
    return np.array([numbers.get(label.strip(), ELSE) for label in said])


def _over(count: int) -> Any:
    def macro(truth: Numbers, said: Numbers, axis: int) -> Any:
        """The mean over labels; one that the drawn examples have in no truth does not count."""
        f1 = np.stack([_f1(truth == number, said == number, axis) for number in range(count)])
        there = np.stack([(truth == number).any(axis=axis) for number in range(count)])
        return (f1 * there).sum(axis=0) / np.maximum(1, there.sum(axis=0))

    return macro


def _f1(meant: NDArray[np.bool_], said: NDArray[np.bool_], axis: int) -> Any:
    both = (meant & said).sum(axis=axis)
    whole = meant.sum(axis=axis) + said.sum(axis=axis)
    return 2 * both / np.maximum(1, whole)
