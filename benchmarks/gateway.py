"""What does the gateway add to a call, beside its neighbours? `python -m benchmarks.gateway`.

The service as it is run, by gRPC and by OpenAI-compatible HTTP, a process a core, with everything kept (spool on disk,
Kafka producer to a real broker); LiteLLM's proxy, a worker a core, without a database; TensorZero's embedded gateway
with nothing logged, called in the process of its caller under uvloop, whose cost is in its figures; and bare grpc.aio
that echoes, a process a core. Those that are not ours run in environments made from `gateway_*.txt`. All stand before
the same backend, which gives one answer after a fixed latency, whole or in 16 pieces; all but TensorZero are asked by
the same h2load, also the backend itself: what a contestant adds is its latency less the backend's own.

Everyone takes turns under each load, several times; figures are medians. First as many calls as come back at once with
an instant backend: latencies there are those of a queue. Then evenly paced, before a backend of 20 ms: that is what the
gateway adds. All share the machine with the generator (20 to 60 us a call, told as generator_cpu_us), so that ratios
count. Percentiles are left out where fewer calls came back than twice those that were open. LiteLLM has one turn under
each load, three times as long: it needs half a minute to be done with what it was sent. So has everyone under more than
512 streams at once, as much longer as they are more: all of them grow together, and none is at its end in two seconds.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import engines, gateway_neighbours, gateway_tools
from benchmarks.gateway_contestants import Contestant, direct, echo, ours
from benchmarks.gateway_figures import FLOOR, goals, middle, table, with_added
from benchmarks.gateway_load import PACED_CONNECTIONS, Load
from benchmarks.gateway_served import Setting, answers_after, backend
from benchmarks.result import Help, how_many, how_much, seconds_under_load, tell

CONTESTANTS: Final = ("grpc", "http", "bare", "tensorzero", "litellm")
COMPARED: Final = Load(64, stream=False, seconds=0).name
PACED_PER_S: Final = 1_000
PACED: Final = Load(PACED_CONNECTIONS, stream=False, seconds=0, rate=PACED_PER_S).name
SLOW: Final = {"litellm": 3.0}
"""Who has one turn under each load, and so many times as long: of 64 calls that come at once all are answered late."""
CROWD: Final = 512
"""More streams at once than these have one turn that is longer by as much."""


def loads(streams: Sequence[int], seconds: float) -> list[Load]:
    """Those that are asked as fast as they answer."""
    return [Load(count, stream, seconds) for stream in (False, True) for count in streams]


def paced(seconds: float) -> list[Load]:
    """Those at a fixed rate."""
    return [Load(PACED_CONNECTIONS, stream, seconds, PACED_PER_S) for stream in (False, True)]


@contextmanager
def everybody(setting: Setting, backend_pid: int, names: set[str]) -> Iterator[Mapping[str, Contestant]]:
    """The backend itself and those that are named."""
    with ExitStack() as stack:
        found: dict[str, Contestant] = {FLOOR: direct(setting, backend_pid)}
        if names & {"grpc", "http"}:
            found |= stack.enter_context(ours(setting))
        others = {"bare": echo, "tensorzero": gateway_neighbours.tensorzero, "litellm": gateway_neighbours.litellm}
        found |= {name: stack.enter_context(start(setting)) for name, start in others.items() if name in names}
        yield {name: one for name, one in found.items() if name in {FLOOR, *names}}


def times_as_long(load: Load, name: str) -> float:
    """As the load says; more than 1 where one long turn stands for all."""
    crowd = load.streams / CROWD if load.stream else 1.0
    return max(1.0, crowd, SLOW.get(name, 1.0))


Runs = dict[str, dict[str, list[dict[str, float]]]]


def turns(contestants: Mapping[str, Contestant], asked: Sequence[Load], rounds: int) -> Runs:
    """Everyone under each load, in turn, so many times."""
    runs: Runs = {load.name: {name: [] for name in contestants} for load in asked}
    for number in range(rounds):
        for load in asked:
            for name, contestant in contestants.items():
                if number and times_as_long(load, name) > 1:
                    continue
                found = contestant.run(replace(load, seconds=load.seconds * times_as_long(load, name)))
                runs[load.name][name].append(found)
                _say(f"{load.name}, {name}: {', '.join(f'{key} {value:,.1f}' for key, value in found.items())}")
    return runs


def measure(given: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by load and contestant."""
    streams, rounds = ([1, 64], 1) if given.quick else (given.streams, given.rounds)
    tool = gateway_tools.h2load(given.cache_dir)
    with engines.folder() as directory, backend(directory) as (address, pid):
        setting = Setting(directory, given.cache_dir, tool, address, given.processes)
        with everybody(setting, pid, set(given.contestants)) as contestants:
            for contestant in contestants.values():
                contestant.run(Load(64, stream=False, seconds=1))
            runs = turns(contestants, loads(streams, given.seconds), rounds)
            answers_after(address, given.latency_ms)
            runs |= turns(contestants, paced(given.seconds), rounds)
    return {load: with_added({name: middle(made) for name, made in by_name.items()}) for load, by_name in runs.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=how_many, default=cores, help="of the gateway, LiteLLM and bare grpc.aio")
    parser.add_argument("--streams", type=how_many, nargs="+", default=[1, 64, 512, 4096], help="calls at once")
    parser.add_argument(
        "--seconds", type=seconds_under_load, default=2.0, help="that each is under each load, each time"
    )
    parser.add_argument("--rounds", type=how_many, default=3, help="turns that each has under each load")
    parser.add_argument("--latency-ms", type=how_much, default=20.0, help="the backend's, for the paced loads")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--cache-dir", type=Path, default=gateway_tools.CACHE, help="for what is fetched")
    parser.add_argument("--quick", action="store_true", help="one round at 1 and 64 at once: whether all works")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    found = measure(given)
    print(table(found))
    about = {"processes": given.processes, "latency_ms": given.latency_ms, "rounds": 1 if given.quick else given.rounds}
    tell("gateway", {**about, "loads": found}, goals(found, COMPARED, PACED))


if __name__ == "__main__":
    main()
