"""The figures that a verdict goes by, honest however often one is asked for; pure.

Whoever looks at the same golden set again and again, with more examples or with other students, will once see what he
hopes for. So the 5 % of cases in which a student may be promoted wrongly are shared out over all looks: look k spends
6 / (pi k)^2 of them, and these shares add up to 1 over however many looks there will be. As no look spends more than
its own, that holds whatever the looks have in common (the union bound): a golden set that grows, one that stays, the
same student or another each time.

An interval leaves half of what the look spends beyond each of its ends. Two ways of answering could be promoted, the
student alone and the cascade, each on the strength of upper ends: twice one half. That both the ceiling and the teacher
must be beaten costs nothing, for who is worse in one of the two can only be promoted by that one's mistake.

Where the golden set itself decides which of several students is to be promoted, each spends its part of the look.

Errors have Clopper and Pearson's exact interval; differences that of `scoring.difference`.
"""

import math

import numpy as np
from scipy import stats

from training import scoring
from training.contract import Difference, Interval, Paired, Proof
from training.scoring import Flags

WRONGLY = 0.05
"""Share of golden sets on which a student that is not good enough may ever be promoted."""


def spent(look: int) -> float:
    """The probability that look 1, 2, 3 ... may promote wrongly."""
    return WRONGLY * 6 / (math.pi * look) ** 2


def proof(look: int, teacher: Flags, student: Flags, cascade: Flags, among: int = 1) -> Proof:
    """Flags say which golden examples each way of answering got wrong. `among` as in `contract.Job`."""
    level = 1 - spent(look) / among

    def less(ours: Flags) -> Difference:
        return scoring.difference(ours, teacher, level)

    return Proof(
        look=look,
        level=level,
        teacher=_interval(teacher, level),
        student=_interval(student, level),
        cascade=_interval(cascade, level),
        paired=Paired(student_minus_teacher=less(student), cascade_minus_teacher=less(cascade)),
    )


def _interval(wrong: Flags, level: float) -> Interval:
    result = stats.binomtest(int(np.sum(wrong)), len(wrong))
    bounds = result.proportion_ci(level, method="exact")
    return Interval(error=float(result.statistic), low=float(bounds.low), high=float(bounds.high))
