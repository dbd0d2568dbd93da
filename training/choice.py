"""Which of several students is to be judged on the golden set; pure.

The rule. The eval split alone decides, by what it says of each student's cascade, with one estimate of the teacher's
error for all of them. Of the students whose cascade errs more than the best's by at most one standard error, that of
both together, the one that answers the most requests itself is chosen, for the teacher's answers are what costs; a
difference below `LIKE` counts as none, and then the one that was listed first, the cheapest, is chosen. One that keeps
nothing errs as its teacher does and saves nothing: it is chosen only where none keeps any. The golden set then judges
only the chosen one. It has a veto where prompts are pruned: a student that errs more on it than its twin on whole
prompts gives way to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from training import threshold
from training.contract import Difference, ThresholdRow
from training.threshold import Judged

LIKE = 0.01  # of the requests


@dataclass(frozen=True)
class Standing:
    """A student's threshold, and its answers to the eval split."""

    threshold: float
    judged: Sequence[Judged]


@dataclass(frozen=True)
class Choice:
    """The chosen name, why, and what the eval split says of each."""

    name: str
    why: str
    on_eval: Mapping[str, ThresholdRow]


def choose(standings: Mapping[str, Standing]) -> Choice:
    """`standings` by name, the cheapest first; at least one."""
    e = min(threshold.teacher_error(standing.judged) for standing in standings.values())  # as the best of them see it
    rows = {name: threshold.at(standing.judged, standing.threshold, e) for name, standing in standings.items()}
    useful = {name: row for name, row in rows.items() if row.kept > LIKE} or rows
    best = min(useful.values(), key=lambda row: row.error)
    good = {
        name: row for name, row in useful.items() if row.error - best.error <= math.hypot(row.error_se, best.error_se)
    }
    most = max(row.kept for row in good.values())
    name = next(name for name, row in good.items() if row.kept >= most - LIKE)
    return Choice(name, _why(name, rows, good), rows)


def accepted(chosen: Choice, twin: str, cost: Difference, margin: float) -> Choice:
    """The choice, or the `twin` that reads whole prompts. `cost`: its golden errors less those of its twin."""
    more = f"{100 * cost.difference:+.1f} points [{100 * cost.low:+.1f}, {100 * cost.high:+.1f}] of error"
    if cost.high <= margin:
        within = f"accepted, as on the golden set they cost {more} beside {twin}, within the margin of {100 * margin:g}"
        return replace(chosen, why=f"{chosen.why}. Its pruned prompts are {within}")
    beyond = f"on the golden set its pruned prompts cost {more}, which may be beyond the margin of {100 * margin:g}"
    return replace(chosen, name=twin, why=f"{twin}, because {chosen.name} is refused: {beyond}. Else: {chosen.why}")


def _why(chosen: str, rows: Mapping[str, ThresholdRow], good: Mapping[str, ThresholdRow]) -> str:
    figures = "; ".join(f"{name} {_figures(row)}" for name, row in rows.items())
    if len(rows) == 1:
        return f"{chosen} is the only one that can do the task: on the eval split {_figures(rows[chosen])}"
    if len(good) == 1:
        reason = "the others keep nothing, or their cascades err more, by more than one standard error of both"
    elif all(row.kept < rows[chosen].kept for name, row in good.items() if name != chosen):
        reason = "of those within one standard error of the least error it leaves the fewest requests to the teacher"
    else:
        reason = "of those within one standard error of the least error that keep about as much, it is the cheapest"
    return f"{chosen}, because {reason}. On the eval split: {figures}"


def _figures(row: ThresholdRow) -> str:
    return f"keeps {row.kept:.0%} at {100 * row.error:.1f} % error, give or take {100 * row.error_se:.1f}"
