"""What benchmarks.student_quality makes of right and wrong answers: errors with intervals, paired differences; pure.

All in percent, with 95 % intervals. Of one seed the interval is over the golden examples: Wilson's for a share, the
exact bootstrap of `scoring.difference` for a paired difference. Over several seeds each golden example counts with the
mean of its seeds, and examples are drawn again: the golden examples are the same for all seeds, and three runs on them
are no three times as many examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.result import Goal, at_most
from training import resampling, scoring
from training.scoring import Flags

STUDENT: Final = "student"
Wrong = Mapping[str, Sequence[Flags]]
"""By contestant and seed, which golden examples it got wrong. One that learns nothing has a single entry; one that was
asked only some golden examples was asked the first."""


def figures(wrong: Wrong, informed: Sequence[str] = ()) -> dict[str, Any]:
    """Everyone's errors, and the student's beside the others'. The best of these is none of the `informed`, who were
    fitted on the golden examples.
    """
    errors = {name: error(flags) for name, flags in wrong.items()}
    fair = [name for name in wrong if name != STUDENT and name not in informed]
    best = min(fair, key=lambda name: errors[name]["mean"][0])
    paired = {name: difference(wrong[STUDENT], flags) for name, flags in wrong.items() if name != STUDENT}
    told = {"best_baseline": best, "fitted_on_golden_examples": list(informed)}
    return {"errors_percent": errors, **told, "student_minus": paired}


def error(flags: Sequence[Flags]) -> dict[str, Any]:
    """[error, low, high] of each seed, and over them."""
    each = [_percent(scoring.error_interval(seed)) for seed in flags]
    whole = each[0] if len(flags) == 1 else _percent(resampling.mean(np.mean(flags, axis=0)))
    return {"n": len(flags[0]), "seeds": each, "mean": whole}


def difference(ours: Sequence[Flags], theirs: Sequence[Flags]) -> list[float]:
    """[difference, low, high] over the seeds, on the golden examples that both were asked."""
    n = min(len(ours[0]), len(theirs[0]))
    if len(ours) == len(theirs) == 1:
        found = scoring.difference(ours[0][:n], theirs[0][:n])
        return _percent((found.difference, found.low, found.high))
    means = [np.mean([seed[:n] for seed in flags], axis=0) for flags in (ours, theirs)]
    return _percent(resampling.mean(means[0] - means[1]))


def goals(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Goal]:
    """In each task the student errs no more than the best of the others, and than the informed, by the seeds' means."""
    return {
        f"{task}: no worse than {name}": at_most(
            one["errors_percent"][name]["mean"][0], one["errors_percent"][STUDENT]["mean"][0]
        )
        for task, one in found.items()
        for name in (one["best_baseline"], *one["fitted_on_golden_examples"])
    }


def _percent(interval: Sequence[float]) -> list[float]:
    return [round(100 * bound, 1) for bound in interval]
