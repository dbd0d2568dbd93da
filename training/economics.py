"""What training cost, what the student saves at the task's traffic, and after how many days that has paid for it; pure.

A way of answering costs what its tokens do, at the task's prices; training costs the time of every stage, of every
student that was fitted, at the price of an hour. What people's time or the teacher's answers cost is not in it: the
teacher was paid for serving, whether anything learns from it or not.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

from training.contract import Amount, Report

PER_MILLION = 1_000_000
SECONDS_PER_HOUR = 3_600


@dataclass(frozen=True)
class Saving:
    """What one way of answering saves beside the teacher."""

    name: str
    per_million: Amount  # dollars per million requests
    per_day: Amount | None  # dollars; None: the traffic is not known
    days: Amount | None  # until training has paid off; infinite: never. None: its cost or the traffic is not known


@dataclass(frozen=True)
class Economics:
    """The account of a run."""

    seconds: float  # of training, from the data to the report
    usd: float | None  # None: nobody said what an hour costs
    requests_per_day: float | None
    savings: list[Saving]


def economics(report: Report) -> Economics:
    """The account of the report's run."""
    seconds = sum(report.seconds.values())
    usd = cost(seconds, report.training_usd_per_hour)
    per_day = report.requests_per_day or None
    ways = {"student": report.student, "cascade": report.cascade}
    gaps = {name: report.teacher.usd_per_million - score.usd_per_million for name, score in ways.items()}
    saved = {name: score.saved or Amount(value=gaps[name]) for name, score in ways.items()}
    return Economics(seconds, usd, per_day, [_saving(name, one, usd, per_day) for name, one in saved.items()])


def cost(seconds: float, usd_per_hour: Decimal | None) -> float | None:
    """Dollars of so much time."""
    return None if usd_per_hour is None else float(usd_per_hour) * seconds / SECONDS_PER_HOUR


def break_even_days(usd: float, saved_per_day: Amount) -> Amount:
    """When what is saved has paid `usd`: the more is saved, the sooner. Infinite where nothing is saved."""
    low, high = saved_per_day.low, saved_per_day.high
    return Amount(
        value=_days(usd, saved_per_day.value),
        low=None if high is None else _days(usd, high),
        high=None if low is None else _days(usd, low),
    )


def _saving(name: str, saved: Amount, usd: float | None, requests_per_day: float | None) -> Saving:
    if requests_per_day is None:
        return Saving(name, saved, None, None)
    per_day = _times(saved, requests_per_day / PER_MILLION)
    return Saving(name, saved, per_day, None if usd is None else break_even_days(usd, per_day))


def _times(amount: Amount, factor: float) -> Amount:
    bounds = {"low": amount.low, "high": amount.high}
    return Amount(
        value=factor * amount.value,
        **{name: None if bound is None else factor * bound for name, bound in bounds.items()},
    )


def _days(usd: float, saved: float) -> float:
    if usd <= 0:
        return 0.0
    return usd / saved if saved > 0 else math.inf
