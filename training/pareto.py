"""All ways of answering side by side, and those that nothing else beats in both of two respects; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.contract import Amount, Report, Score

How = Literal["teacher", "student", "cascade"]


@dataclass(frozen=True)
class Option:
    """A way of answering that was measured."""

    number: int  # 1, 2, 3 ..., by which charts and tables name it
    name: str
    how: How
    chosen: bool  # the teacher, and what the verdict is about
    score: Score


def options(report: Report) -> list[Option]:
    """The teacher, then each student alone and in its cascade; the chosen one first."""
    several = len(report.candidates) > 1
    found: list[tuple[str, How, bool, Score]] = [("the teacher", "teacher", True, report.teacher)]
    for one in sorted(report.candidates, key=lambda one: one.name != report.chosen):
        name, chosen = one.name if several else "the student", one.name == report.chosen
        found.append((f"{name} alone", "student", chosen, one.student))
        found.append((f"{name} in a cascade", "cascade", chosen, one.cascade))
    if not report.candidates:
        found.append(("the student alone", "student", True, report.student))
        found.append(("the cascade", "cascade", True, report.cascade))
    return [Option(number, *one) for number, one in enumerate(found, 1)]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other one beats: none is as low in both respects and lower in one. By the first respect.

    Of equal points all are named.
    """
    best = [
        index
        for index, (x, y) in enumerate(points)
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
    ]
    return sorted(best, key=lambda index: points[index])


def priced(found: Sequence[Option]) -> list[Option]:
    """The options whose cost is known: where the log had none of the teacher's, those that never ask it."""
    return _known(found, any(one.score.usd_per_million for one in found if one.how == "teacher"))


def timed(found: Sequence[Option]) -> list[Option]:
    """The options whose time is known, in the same way."""
    return _known(found, any(one.score.p99_ms for one in found if one.how == "teacher"))


def _known(found: Sequence[Option], logged: bool) -> list[Option]:
    return [one for one in found if logged or not one.score.teacher_share] or list(found)


def by_cost(found: Sequence[Option]) -> list[Option]:
    """The options that are not beaten in cost and error, the cheapest first."""
    some = priced(found)
    return [some[index] for index in front([(cost(one).value, one.score.error) for one in some])]


def by_latency(found: Sequence[Option]) -> list[Option]:
    """The options that are not beaten in time and error, the fastest first."""
    some = timed(found)
    return [some[index] for index in front([(latency(one).value, one.score.error) for one in some])]


def cost(option: Option) -> Amount:
    """Dollars for a million requests."""
    return option.score.cost or Amount(value=option.score.usd_per_million)


def latency(option: Option) -> Amount:
    """Milliseconds of a request: the mean; the median in reports from before there was a mean."""
    return option.score.mean_ms or Amount(value=option.score.p50_ms)
