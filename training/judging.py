"""What a judge of texts thinks of a student, and what to think of the judge.

Judges prefer what stands first, or second, for no other reason. So each pair is asked twice, with the places changed,
and a preference counts only if it stays with the answer; how often places decided is reported. Whether the judge knows
what people want is measured on pairs of which people preferred one.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from training import metrics
from training.contract import Figure, Judgement
from training.judge import Judge, JudgeFailed, Preferred

AT_ONCE = 8
"""Pairs that are asked at a time: most of a judge's time is waiting."""


@dataclass(frozen=True)
class Pair:
    """Two answers to a question; what is measured is how often `ours` is the better one."""

    question: str
    ours: str
    other: str


@dataclass(frozen=True)
class Twice:
    """What a judge said to a pair whose first was ours, and then whose second was."""

    ours_first: Preferred
    ours_second: Preferred

    @property
    def worth(self) -> float:
        """1 if ours is preferred in both places, 0 if the other is, else 1/2."""
        both = (self.ours_first, self.ours_second)
        return 1.0 if both == ("first", "second") else 0.0 if both == ("second", "first") else 0.5

    @property
    def steady(self) -> float:
        """1 if the places changed nothing."""
        return float(self.worth != 0.5 or (self.ours_first, self.ours_second) == ("tie", "tie"))

    @property
    def first_place(self) -> float | None:
        """The share of its preferences that went to the first; None if it had none."""
        preferred = [said for said in (self.ours_first, self.ours_second) if said != "tie"]
        return preferred.count("first") / len(preferred) if preferred else None


def judgement(judge: Judge, pairs: Sequence[Pair], people: Sequence[Pair]) -> Judgement:
    """`people`: pairs of which people preferred `ours`. Answers that are the same tie without being asked about."""
    differing = [pair for pair in pairs if pair.ours.strip() != pair.other.strip()]
    found, failed = _asked(judge, differing)
    agreed, failed_too = _asked(judge, people)
    same = len(pairs) - len(differing)
    worths = [each.worth for each in found] + [0.5] * same
    places = [place for each in [*found, *agreed] if (place := each.first_place) is not None]
    failures = [*failed, *failed_too]
    return Judgement(
        judge=judge.name,
        pairs=len(worths),
        wins=worths.count(1.0),
        ties=worths.count(0.5),
        losses=worths.count(0.0),
        preferred=_figure(worths),
        first_place=_figure(places),
        steady=_figure([each.steady for each in [*found, *agreed]]),
        agreement=_figure([each.worth for each in agreed]) if agreed else None,
        unanswered=len(failures),
        why=str(failures[0]) if failures else "",
    )


def _figure(values: Sequence[float]) -> Figure:
    return metrics.figure(np.array(values, dtype=float))


def _asked(judge: Judge, pairs: Sequence[Pair]) -> tuple[list[Twice], list[JudgeFailed]]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        said = list(threads.map(lambda pair: _twice(judge, pair), pairs))
    return [each for each in said if isinstance(each, Twice)], [each for each in said if isinstance(each, JudgeFailed)]


def _twice(judge: Judge, pair: Pair) -> Twice | JudgeFailed:
    """A pair that it fails on says nothing; the others do."""
    try:
        first = judge.prefer(pair.question, pair.ours, pair.other)
        return Twice(first, judge.prefer(pair.question, pair.other, pair.ours))
    except JudgeFailed as failed:
        return failed
