"""From a report to what may take the traffic over; pure.

The rule. A way of answering is good enough if the upper end of its error's interval is at or below the task's
ceiling, and the upper end of its paired difference to the teacher is at or below zero, on at least
MIN_GOLDEN_EXAMPLES golden examples. The student alone is promoted if it is good enough; else the cascade if that is
and it keeps some of the student's answers; else nothing, and the reason says what would change it.

The intervals are those of the report's proof, which are the wider the more often a golden set was looked at, so that
all decisions on it together promote wrongly in 5 % of the cases at most. Reports from before there was a proof have
95 % intervals alone.

Without a golden set the teacher's own answers stand in as the truth. Then there is no comparison with the teacher, and
a promotion only where the teacher's word is to be enough.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from training.contract import Difference, Interval, Report, Score, Truth

MIN_GOLDEN_EXAMPLES: Final = 30
"""Below this a 95 % interval says little, whatever the method."""
CEILING_OUT_OF_REACH: Final = 1_000_000
"""More golden examples than anyone will label: not worth naming as a way out."""

LOOKED_AT: Final[dict[Truth, str]] = {
    "people": "the golden set",
    "teacher": "the teacher's answers that are set aside",
}
"""What proves a student, by whose word on the truth it is."""
EXAMPLES: Final[dict[Truth, str]] = {"people": "golden examples", "teacher": "of the teacher's answers set aside"}
"""Some of it, behind a number."""

WayName = Literal["student", "cascade"]


@dataclass(frozen=True)
class Rule:
    """What the task asks of a student."""

    ceiling: float  # the share of wrong answers that its owner accepts
    teacher_proves: bool  # whether the teacher's answers may stand in for people's

    @classmethod
    def of(cls, report: Report) -> "Rule":
        """As it was when the run began."""
        return cls(report.error_ceiling, report.teacher_proves)


@dataclass(frozen=True)
class Verdict:
    """What may take the traffic over, None if nothing may, and why, with the figures."""

    way: WayName | None
    reason: str


@dataclass(frozen=True)
class _Way:
    """One way of answering as the report measured it."""

    name: WayName
    told: str
    error: Interval
    paired: Difference
    teacher_share: float


def judge(report: Report, rule: Rule) -> Verdict:
    """The verdict on a run's student."""
    ways = _ways(report)
    objections = {way.told: _objection(way, report, rule) for way in ways}
    best = next((way for way in ways if not objections[way.told]), None)
    if best is None:
        why = "; ".join(f"{name}: {objection}" for name, objection in objections.items())
        return Verdict(None, f"not promoted: {why}{_looks(report)}")
    return Verdict(best.name, f"{_figures(best, report, rule)}: promote")


def objection(report: Report, rule: Rule, name: WayName) -> str:
    """Why the report does not support that way of answering, with its figures; '' if it does."""
    way = next(way for way in _ways(report) if way.name == name)
    why = _objection(way, report, rule)
    return f"{way.told}: {why}" if why else ""


def _ways(report: Report) -> tuple[_Way, _Way]:
    """The student alone, then the cascade: the order of preference."""
    errors = report.proof or report
    student, both, paired = bounds(errors.student), bounds(errors.cascade), errors.paired
    return (
        _Way("student", "student alone", student, paired.student_minus_teacher, 0.0),
        _Way("cascade", "cascade", both, paired.cascade_minus_teacher, report.cascade.teacher_share),
    )


def bounds(found: Score | Interval) -> Interval:
    """The error with its interval."""
    if isinstance(found, Interval):
        return found
    return Interval(error=found.error, low=found.error_low, high=found.error_high)


def _objection(way: _Way, report: Report, rule: Rule) -> str:
    """What stands against a way, and what would change it; '' if nothing does."""
    if report.golden < MIN_GOLDEN_EXAMPLES:
        return f"{report.golden} {EXAMPLES[report.truth]} prove nothing: at least {MIN_GOLDEN_EXAMPLES} are needed"
    if report.truth == "teacher" and not rule.teacher_proves:
        return (
            "only the teacher's own answers say what is right: add golden examples, or accept them by `proof: teacher`"
        )
    # Written as `not <=` so that a figure that is not a number never promotes.
    if way.name == "cascade" and not way.teacher_share < 1:
        return "it keeps no answer of the student's: more training examples"
    if not way.error.high <= rule.ceiling:
        beyond = f"upper end {_percent(way.error.high, 2)} is above the ceiling {_percent(rule.ceiling)}"
        return f"{beyond}: {_way_out(report, way.error.error, way.error.high, rule.ceiling, ' %')}"
    if report.truth == "people" and not way.paired.high <= 0:
        beyond = f"paired difference to the teacher reaches {_points(way.paired.high)} points, above 0"
        return f"{beyond}: {_way_out(report, way.paired.difference, way.paired.high, 0.0, ' points')}"
    return ""


def _way_out(report: Report, middle: float, high: float, bound: float, unit: str) -> str:
    """What would bring an upper end under its bound."""
    needed = _golden_needed(report.golden, middle, high, bound)
    if needed > CEILING_OUT_OF_REACH:
        return "more training examples, corrections of wrong ones, or a larger student"
    measured = f"{_points(middle)}{unit} was measured"
    return f"{measured}: about {needed:,} {EXAMPLES[report.truth]} would prove it, or more training examples"


def _golden_needed(golden: int, middle: float, high: float, bound: float) -> int:
    """Roughly how many golden examples would narrow the interval below `bound`: its width goes with 1 / sqrt(n)."""
    if not middle < bound or not math.isfinite(high):
        return CEILING_OUT_OF_REACH + 1
    return math.ceil(min(golden * ((high - middle) / (bound - middle)) ** 2, CEILING_OUT_OF_REACH + 1))


def _figures(way: _Way, report: Report, rule: Rule) -> str:
    ceiling = _percent(rule.ceiling)
    if report.truth == "teacher":
        said = f"{way.told} is not what the teacher said on {_interval(way.error)}, under ceiling {ceiling}"
        return f"{said}{_looks(report)}"
    paired = f"{_points(way.paired.difference)} points [{_points(way.paired.low)}, {_points(way.paired.high)}]"
    return (
        f"{way.told} error {_interval(way.error)} under ceiling {ceiling} "
        f"and not above teacher {_interval(bounds((report.proof or report).teacher))} (paired difference {paired})"
        f"{_looks(report)}"
    )


def _looks(report: Report) -> str:
    """By which intervals it was judged, and how many examples had no say."""
    told = ""
    if report.proof:
        told = (
            f"; by {_percent(report.proof.level, 3)} intervals, "
            f"as this is look {report.proof.look} at {LOOKED_AT[report.truth]}"
        )
    leaks = report.leaks.questions + report.leaks.near + report.leaks.groups
    return f"{told}; {leaks} {EXAMPLES[report.truth]} that were learnt from, too, had no say" if leaks else told


def _interval(found: Interval) -> str:
    return f"{_percent(found.error)} [{_points(found.low)}, {_points(found.high)}]"


def _percent(share: float, digits: int = 1) -> str:
    return f"{_points(share, digits)} %"


def _points(share: float, digits: int = 1) -> str:
    return f"{round(100 * share, digits) + 0.0:g}"
