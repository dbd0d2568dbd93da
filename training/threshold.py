"""Which of the student's answers to keep: the threshold of the cascade, chosen on the eval split; pure.

Most eval labels are the teacher's answers, of which a share `e` is wrong, so that disagreeing with a label is not
being wrong. Some labels were confirmed or written by a person. Per example, with `d` = 1 if student and label differ:

    risk = d                    where a person vouches for the label,
    risk = (d - e) / (1 - e)    elsewhere.

The second is right on average while the teacher's mistakes do not depend on how sure the student is, and the student
does not repeat them by chance: then P(d) = e + (1 - e) * P(student wrong). It may be negative for one example; the
mean over a kept group is floored at 0.

`e` is the share of the teacher's mistakes among two groups taken together: the confirmed rows, where the teacher's own
answer can be compared, and the surest `SUREST` of the student's other answers, which are nearly all right, so that
what they disagree with is the teacher's mistake. People may correct wrong answers more often than they confirm right
ones, which would make `e` too high and the student look too good; so it is capped by the upper bound (95 %, Wilson)
of the second group alone, and by `MOST`, as a student that has learnt nothing differs from nearly all labels.

The cascade errs by the risk of what it keeps and by `e` on the rest. The threshold with the least estimated error
is then moved to keep more for as long as the additional answers are not worse than the teacher's by more than one
standard error: a teacher's answer costs a hundred times as much, and what cannot be told apart is not worth that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.contract import ThresholdRow

Floats = NDArray[np.float64]
SUREST = 1 / 2  # fewer would be purer but too few to count
MOST = (
    0.25  # of the teacher's answers; where a student differs more often, it is not the teacher that is believed wrong
)
CURVE_ROWS = 100
KEEP_NOTHING = 0.0


@dataclass(frozen=True)
class Judged:
    """A student's answer to one eval example."""

    confidence: float  # the least log-probability among its tokens, 0 or less
    refused: bool  # by a validator
    differs: bool  # from the label
    corrected: bool  # a person vouches for the label
    teacher_differs: bool  # from the label; tells something only where `corrected`
    weight: float = 1.0  # 1 / probability of having been chosen


def keeps(threshold: float, confidence: float, refusal: str) -> bool:
    """The cascade's rule. A threshold of 0 keeps nothing."""
    return not refusal and threshold < KEEP_NOTHING and confidence >= threshold


def teacher_error(rows: Sequence[Judged]) -> float:
    """The estimated share of the teacher's answers that are wrong."""
    unconfirmed = sorted(
        (row for row in rows if not row.corrected and not row.refused), key=lambda row: -row.confidence
    )
    surest = unconfirmed[: math.ceil(len(unconfirmed) * SUREST)]
    confirmed = [row for row in rows if row.corrected]
    wrong = sum(row.teacher_differs for row in confirmed)
    disagreed = sum(row.differs for row in surest)
    counted = len(confirmed) + len(surest)
    pooled = (wrong + disagreed) / counted if counted else 0.0
    cap = stats.binomtest(disagreed, len(surest)).proportion_ci(method="wilson").high if surest else 1.0
    return min(MOST, float(cap), pooled)


def choose(rows: Sequence[Judged]) -> tuple[float, list[ThresholdRow]]:
    """The threshold and the curve it was chosen from, from keeping nothing to keeping all that passes."""
    passed = sorted((row for row in rows if not row.refused), key=lambda row: -row.confidence)
    if not passed:
        return KEEP_NOTHING, []
    e = teacher_error(rows)
    curve = _Curve.of(passed, e, total=sum(row.weight for row in rows))
    best = len(curve.error) - 1 - int(np.argmin(curve.error[::-1]))  # of equals the one that keeps most
    chosen = curve.furthest_as_good_as(best) if best else 0
    return float(curve.threshold[chosen]), curve.rows()


def at(rows: Sequence[Judged], limit: float, e: float) -> ThresholdRow:
    """What a cascade of that threshold would do, if the teacher errs on a share `e` of its answers."""
    kept = (row for row in rows if keeps(limit, row.confidence, "refused" * row.refused))
    passed = sorted(kept, key=lambda row: -row.confidence)
    if not passed:
        return ThresholdRow(threshold=limit, kept=0, error=e, error_se=0)
    curve = _Curve.of(passed, e, total=sum(row.weight for row in rows))
    spread = float(np.sqrt(curve.variance[-1]))
    return ThresholdRow(threshold=limit, kept=float(curve.kept[-1]), error=float(curve.error[-1]), error_se=spread)


@dataclass(frozen=True)
class _Curve:
    """Index k: the group of answers above the k-th of the distinct confidences; 0 keeps nothing."""

    threshold: Floats
    kept: Floats  # share of all examples
    error: Floats  # the cascade's
    excess: Floats  # sum of weight * (risk - e) over the kept, by the weight of all
    variance: Floats  # of that sum, accumulated

    @classmethod
    def of(cls, passed: Sequence[Judged], e: float, total: float) -> "_Curve":
        """`passed` is sorted, the surest first."""
        confidence = np.array([row.confidence for row in passed])
        weight = np.array([row.weight for row in passed]) / total
        risk = np.array([float(row.differs) if row.corrected else (row.differs - e) / (1 - e) for row in passed])
        ends = np.append(np.nonzero(np.diff(confidence))[0], len(passed) - 1)
        kept = _sums(weight, ends)
        return cls(
            threshold=np.append(KEEP_NOTHING, _between(confidence, ends)),
            kept=kept,
            error=np.maximum(0.0, _sums(weight * risk, ends)) + e * (1 - kept),
            excess=_sums(weight * (risk - e), ends),
            variance=_sums((weight * (risk - e)) ** 2, ends),
        )

    def furthest_as_good_as(self, best: int) -> int:
        """The last index whose answers beyond `best` exceed the teacher's error by one standard error at most."""
        more = self.excess[best:] - self.excess[best]
        standard_error = np.sqrt(self.variance[best:] - self.variance[best])
        return best + int(np.nonzero(more <= standard_error)[0][-1])

    def rows(self) -> list[ThresholdRow]:
        """About `CURVE_ROWS` of the points."""
        some = np.unique(np.linspace(0, len(self.kept) - 1, CURVE_ROWS).round().astype(int))
        return [
            ThresholdRow(
                threshold=float(self.threshold[k]),
                kept=float(self.kept[k]),
                error=float(self.error[k]),
                error_se=float(np.sqrt(self.variance[k])),
            )
            for k in some
        ]


def _sums(values: Any, ends: NDArray[np.int64]) -> Floats:
    """Running sums at the ends of the groups, with a 0 for the empty group before them."""
    return np.append(0.0, np.cumsum(values)[ends])


def _between(confidence: Floats, ends: NDArray[np.int64]) -> Floats:
    """A threshold after each group: half way to the next lower confidence, for a little noise changes nothing."""
    at = confidence[ends]
    return np.minimum(np.append((at[:-1] + at[1:]) / 2, at[-1]), -1e-9)
