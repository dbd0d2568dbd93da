"""What benchmarks.gateway makes of its contestants' figures: medians, what each adds, goals, a table. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from benchmarks.result import Goal, at_least, at_most, median

Figures = Mapping[str, float]
Found = Mapping[str, Mapping[str, Figures]]
"""By the load's name and then the contestant's."""
LATENCIES: Final = ("p50_ms", "p99_ms", "p999_ms")
FLOOR: Final = "backend"
WITHOUT_BACKEND: Final = frozenset({"bare", FLOOR})
"""Who asks no backend, and so adds all that it takes."""


def middle(runs: Sequence[Figures]) -> dict[str, float]:
    """The median of each figure over the turns, of those that have it; calls that failed are added up."""
    names = dict.fromkeys(name for run in runs for name in run)
    found = {name: median([run[name] for run in runs if name in run], 3) for name in names}
    return found | {"failed": sum(run["failed"] for run in runs)}


def with_added(by_name: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """Beside each latency what the contestant adds to the backend's own, asked directly by the same generator."""
    floors = {name: {} if name in WITHOUT_BACKEND else by_name[FLOOR] for name in by_name}
    return {name: {**figures, **_added(figures, floors[name])} for name, figures in by_name.items()}


def _added(figures: Figures, floor: Figures) -> dict[str, float]:
    return {f"added_{name}": round(figures[name] - floor.get(name, 0.0), 3) for name in LATENCIES if name in figures}


def goals(found: Found, compared: str, paced: str) -> dict[str, Goal]:
    """What was wanted: rates under the load `compared`, latencies under the load `paced`."""
    rates = {name: figures.get("calls_per_s") for name, figures in found.get(compared, {}).items()}
    ours = found.get(paced, {}).get("grpc", {})
    failed = sum(by_name.get(name, {}).get("failed", 0) for by_name in found.values() for name in ("grpc", "http"))
    return {
        "times LiteLLM's requests a second": at_least(40, over(rates.get("grpc"), rates.get("litellm"))),
        "times TensorZero's requests a second": at_least(1.5, over(rates.get("grpc"), rates.get("tensorzero"))),
        "added p50 in ms at 1,000/s": at_most(0.5, ours.get("added_p50_ms")),
        "added p99 in ms at 1,000/s": at_most(2, ours.get("added_p99_ms")),
        "failed calls of the gateway": at_most(0, failed),
    }


def over(above: float | None, below: float | None) -> float | None:
    """The quotient; None where one of both is not known."""
    return None if above is None or not below else round(above / below, 2)


def table(found: Found) -> str:
    """For people: a line for each contestant under each load."""
    head = f"{'load':<24}{'who':<12}{'calls/s':>9}{'us of CPU':>11}{'p50':>10}{'p99':>10}{'p99.9':>10}{'failed':>8}"
    return "\n".join([head + "   (ms added to the backend's own; of backend and bare: all)", *_lines(found)])


def _lines(found: Found) -> Iterator[str]:
    for load, by_name in found.items():
        for name, figures in by_name.items():
            added = "".join(_cell(figures.get(f"added_{latency}")) for latency in LATENCIES)
            rate, cpu = figures["calls_per_s"], figures["cpu_us"]
            yield f"{load:<24}{name:<12}{rate:>9,.0f}{cpu:>11,.0f}{added}{figures['failed']:>8,.0f}"


def _cell(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10,.2f}"
