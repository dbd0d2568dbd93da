"""What does it cost the gateway to keep every exchange? `python -m benchmarks.capture`.

The gateway's own parts (gRPC, checks, router, records, spool, its thread that brings the spool to Kafka) in one process
before an echo that answers at once in the same process: nothing is written at all, or the spool is on under each fsync
policy. Requests of 600 bytes, exchanges of a kilobyte. The load comes from grpc.aio in a process of its own, and the
broker (Tansu, in memory) is a third; all share the machine, so beside the calls a second stands the processor time that
the gateway itself took for a call. All modes take turns, several times; the figures are medians.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import engines
from benchmarks.result import Help, at_least, at_most, median, tell
from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from services.settings import KafkaSettings

MODES: Final = ("none", "off", "interval", "always")
SHARE_KEPT: Final = 0.7
"""The goal: with the default policy, at least this share of the calls that are answered without a spool."""


def run(directory: Path, kafka: KafkaSettings, mode: str, calls_at_once: int, seconds: float) -> dict[str, float]:
    """One gateway under load."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    argv = (sys.executable, "-m", "benchmarks.capture_gateway", mode, str(port), str(directory / f"spool-{mode}"))
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers}
    part = Part("gateway", argv, partial(ready.serves_grpc, address), environment)
    with engines.started(part, directory) as running:
        process = psutil.Process(running.identity.pid)
        before_s = sum(process.cpu_times()[:2])
        command = [sys.executable, "-m", "benchmarks.capture_load", address, str(calls_at_once), str(seconds)]
        load = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        cpu_s = sum(process.cpu_times()[:2]) - before_s
    with_warm_up = (seconds + 1.0) / seconds
    return {
        "calls_per_s": load["calls"] / load["seconds"],
        "p50_ms": load["p50_ms"],
        "p99_ms": load["p99_ms"],
        "gateway_cpu_us_per_call": cpu_s / (load["calls"] * with_warm_up) * 1e6,
        "failed": load["failed"],
    }


def measure(calls_at_once: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Every mode in turn, several times; medians."""
    runs: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        kafka = stack.enter_context(engines.broker(directory))
        for _ in range(repeats):
            for mode in MODES:
                runs[mode].append(run(directory, kafka, mode, calls_at_once, seconds))
                print(f"spool {mode}: {runs[mode][-1]}", flush=True)
    return {
        mode: {figure: median([one[figure] for one in made], 1) for figure in made[0]} for mode, made in runs.items()
    }


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--calls-at-once", type=int, default=64, help="calls open at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each mode is under load, each time")
    parser.add_argument("--repeats", type=int, default=3, help="turns that each mode has")
    given = parser.parse_args()
    found = measure(given.calls_at_once, given.seconds, given.repeats)
    share = round(found["interval"]["calls_per_s"] / found["none"]["calls_per_s"], 2)
    goals = {
        "calls kept with the default policy": at_least(SHARE_KEPT, share),
        "failed calls": at_most(0, sum(one["failed"] for one in found.values())),
    }
    tell("capture", {"calls_at_once": given.calls_at_once, "spool": found}, goals)


if __name__ == "__main__":
    main()
