"""How a benchmark tells what it found, and what its options are."""

import argparse
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psutil

Goal = dict[str, Any]
SHORTEST_S = 0.1
"""In which anything can be measured."""


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The text as it stands, and the default of each option."""


def how_many(text: str) -> int:
    """An option's whole number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def how_much(text: str) -> float:
    """An option's number, 0 or more."""
    return _number(text, 0.0)


def seconds_under_load(text: str) -> float:
    """An option's time under load."""
    return _number(text, SHORTEST_S)


def _number(text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number, {least:g} or more, not {text!r}")
    return value


def at_least(goal: float, measured: float | None) -> Goal:
    """A goal that more is better for; what could not be measured does not meet it."""
    return {"goal": f">= {goal:g}", "measured": measured, "met": measured is not None and measured >= goal}


def at_most(goal: float, measured: float | None) -> Goal:
    """A goal that less is better for; what could not be measured does not meet it."""
    return {"goal": f"<= {goal:g}", "measured": measured, "met": measured is not None and measured <= goal}


def median(values: Sequence[float], digits: int = 0) -> float:
    """The middle one, rounded."""
    return round(statistics.median(values), digits or None)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of all lie below."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def tell(name: str, figures: Mapping[str, Any], goals: Mapping[str, Goal]) -> None:
    """Print the figures and the goals as the benchmark's last line, one JSON object."""
    machine = {
        "cores": psutil.cpu_count(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        "load": round(psutil.getloadavg()[0], 2),
    }
    at = datetime.now(UTC).isoformat(timespec="seconds")
    print(json.dumps({"benchmark": name, "at": at, "machine": machine, **figures, "goals": goals}))
