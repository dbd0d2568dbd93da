"""What a run asks of Ray, and whether Ray has it: workers without their processor or GPU would wait for ever; pure."""

from collections.abc import Mapping
from typing import Final

from training.config import Config

LEAST_LOCAL_CPUS: Final = 2


def local(config: Config) -> int:
    """Processors that a Ray of our own says it has: for the workers and one more, or for all trials at once."""
    return max(LEAST_LOCAL_CPUS, config.workers + 1, config.search.at_once if config.search else 0)


def each(config: Config) -> dict[str, float]:
    """Of a worker, by Ray's names. A trial of a search asks for no more."""
    return {"CPU": 1.0, "GPU": float(config.gpus_per_worker)}


def asked(config: Config) -> dict[str, float]:
    """Of all workers together."""
    return {name: config.workers * amount for name, amount in each(config).items()}


def lacking(config: Config, there: Mapping[str, float]) -> str:
    """Why the workers could never all start where Ray has `there`, and what to change; '' if they can."""
    wanted = asked(config)
    if config.await_resources or all(there.get(name, 0.0) >= amount for name, amount in wanted.items()):
        return ""
    has = {name: there.get(name, 0.0) for name in wanted}
    return (
        f"Ray has {_listed(has)}, and the run asks for {_listed(wanted)} (workers: {config.workers}, "
        f"gpus_per_worker: {config.gpus_per_worker}): lower these, or set await_resources: true where the cluster grows"
    )


def _listed(amounts: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in amounts.items())
