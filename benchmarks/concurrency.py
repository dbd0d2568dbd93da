"""Does the gateway hold 100,000 calls at once, and does it take a burst of as many? `python -m benchmarks.concurrency`.

The service as it is run, a process a core, everything kept (spool, Kafka); behind it a student that speaks Triton's
protocol. h2load opens all calls at once over 64 connections, each with a request of 500 bytes. First the student
answers each call after `--hold-s`, so that all are open together: what is that in memory (resident, of all the
gateway's processes), is it free again after a pause, and is anything lost? A call is lost if it does not end for its
caller, or if neither its answer is on Kafka under an id of its own nor the gateway counts it as ended with an error
status. Then the student answers at once: how fast is a burst drained? With `--soak` a steady rate goes on for minutes,
and the slope of the memory is fitted. Bare grpc.aio, with nothing behind it, holds as many calls in the same run.

The hold must be longer than opening the calls takes, or they are not all open together, which is told (open_at_most).
Of fewer than 20,000 calls no goal is set for the share of the memory that is free again: it would be noise.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import uuid_utils

from benchmarks import engines, gateway_tools
from benchmarks.concurrency_figures import Memory, goals, lost, slope
from benchmarks.concurrency_watch import Metrics, on_kafka, rss, watched
from benchmarks.gateway_load import Load, asked, burst, grpc_target
from benchmarks.gateway_request import HELD
from benchmarks.gateway_served import Setting, bare, gateway
from benchmarks.messages import produce
from benchmarks.result import Help, how_many, how_much, tell
from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from deploy.local.processes import wait_until
from protos import events_pb2 as events
from services.kafka import Producer
from services.settings import KafkaSettings
from services.topics import PROMOTIONS, encode

WARMTH, BURST, SOAK = "warmth", "burst", "soak"
TASKS: Final = (HELD, WARMTH, BURST, SOAK)
"""One for each part of the run, so that Kafka tells whose answers are there; only those of HELD take a while."""
WARM_UP_CALLS: Final = 2_000
SOAKED_PER_S: Final = 500
TASK: Final = """\
name: {name}
description: Answered by the student of a benchmark.
answer: json
teacher: {{model: none, may_be_trained_on: true, prices: {{input_usd_per_million: 1, output_usd_per_million: 1}}}}
student:
  timeout_s: 3600
  prices: {{input_usd_per_million: 0.1, output_usd_per_million: 0.1}}
error_ceiling: 0.1
latency_budget_ms: 3600000
"""


@dataclass(frozen=True)
class Server:
    """Who is under load: where, which processes, how many calls are open and how many have ended with an error."""

    address: str
    pid: int
    open_calls: Callable[[], int]
    refused: Callable[[], int]


def wave(server: Server, setting: Setting, task: str, calls: int, pause_s: float) -> dict[str, Any]:
    """So many calls, opened at once, to the end of the last; and memory before, meanwhile and after a pause."""
    refused, before = server.refused(), rss(server.pid)
    target = grpc_target(server.address, task, setting.directory, stream=False)
    with watched(partial(rss, server.pid)) as resident, watched(server.open_calls, 2) as opened:
        found = burst(setting.tool, target, calls, setting.directory)
    time.sleep(pause_s)
    memory = Memory(before, max(value for _, value in resident), rss(server.pid))
    figures = {
        **{name: round(value, 1) for name, value in found.items()},
        "open_at_most": max((value for _, value in opened), default=0),
        "refused": server.refused() - refused,
        "memory": memory.figures(calls),
    }
    _say(f"{task}: {figures}")
    return figures


def promoted(kafka: KafkaSettings) -> None:
    """Have the student answer all tasks."""
    made = []
    for task in TASKS:
        promotion = events.Promotion(id=str(uuid_utils.uuid7()), task=task, student_version=1, decided_by="benchmark")
        promotion.policy.kind = events.POLICY_KIND_STUDENT_ONLY
        made.append(encode(PROMOTIONS, promotion))
    produce(Producer(kafka), made)


def accounted(figures: dict[str, Any], sent: int, answered: int) -> dict[str, Any]:
    """The figures, and what was lost."""
    gone = lost(sent, round(figures["calls"]), answered, figures["refused"])
    return {**figures, "answered_on_kafka": answered, "lost": gone}


def soaked(server: Server, setting: Setting, minutes: float) -> dict[str, Any]:
    """A steady rate for minutes; the memory's slope by time and by call."""
    load = Load(50, stream=False, seconds=minutes * 60, rate=SOAKED_PER_S)
    refused, target = server.refused(), grpc_target(server.address, SOAK, setting.directory, stream=False)
    with watched(partial(rss, server.pid), 2) as resident:
        found = asked(setting.tool, target, load, setting.directory)
    bytes_per_s = slope(resident)
    return {
        **{name: round(value, 1) for name, value in found.items()},
        "refused": server.refused() - refused,
        "mib_per_hour": round(bytes_per_s * 3600 / 2**20, 2),
        "bytes_per_call": round(bytes_per_s / found["calls_per_s"], 2),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Bare grpc.aio, then the gateway: held, burst, soak; what is on Kafka comes last, in one reading."""
    found: dict[str, Any] = {"bare": bare_held(given)}
    with engines.folder() as directory, engines.broker(directory) as kafka, student(given.hold_s, directory) as triton:
        setting = _setting(given, directory)
        promoted(kafka)
        environment = {"TASKS_DIR": str(_tasks(directory)), "TRITON_GRPC_ADDRESS": triton}
        with gateway(setting, kafka, environment) as (at, pid):
            metrics = Metrics(at["metrics"], given.processes)
            server = Server(
                at["grpc"],
                pid,
                partial(metrics.total, "tutelage_open_calls"),
                partial(metrics.total, "tutelage_refused_calls_total"),
            )
            wave(server, setting, WARMTH, WARM_UP_CALLS, pause_s=1)
            held = wave(server, setting, HELD, given.calls, given.pause_s)
            sudden = wave(server, setting, BURST, given.calls, given.pause_s)
            soak = soaked(server, setting, given.soak) if given.soak else None
            if not wait_until(lambda: not metrics.total("tutelage_spool_bytes"), within_s=120, every_s=1):
                _say("Kafka has not all that is in the spool")
        kept = on_kafka(kafka)
    answered = {task: kept[task, "OUTCOME_ANSWERED"] for task in TASKS}
    found["held"] = accounted(held, given.calls, answered[HELD])
    found["burst"] = accounted(sudden, given.calls, answered[BURST])
    if soak:
        found["soak"] = accounted(soak, round(soak["calls"] + soak["failed"]), answered[SOAK])
    return {**found, "kept": {f"{task} {outcome}": count for (task, outcome), count in sorted(kept.items())}}


def bare_held(given: argparse.Namespace) -> dict[str, Any]:
    """The same calls, held by bare grpc.aio; nobody counts its open ones."""
    with engines.folder() as directory:
        setting = _setting(given, directory)
        with bare(setting, given.hold_s) as (address, pid):
            server = Server(address, pid, lambda: 0, lambda: 0)
            wave(server, setting, WARMTH, WARM_UP_CALLS, pause_s=1)
            return wave(server, setting, HELD, given.calls, given.pause_s)


def student(hold_s: float, directory: Path) -> Any:
    """The student's host:port while it runs."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    argv = (sys.executable, "-m", "benchmarks.concurrency_student", str(port), str(hold_s))
    return engines.at(address, Part("student", argv, partial(ready.serves_grpc, address)), directory)


def _setting(given: argparse.Namespace, directory: Path) -> Setting:
    tool = gateway_tools.h2load(given.cache_dir)
    return Setting(directory, given.cache_dir, tool, f"{HOST}:9", given.processes)


def _tasks(directory: Path) -> Path:
    (folder := directory / "tasks").mkdir()
    for name in TASKS:
        (folder / f"{name}.yaml").write_text(TASK.format(name=name))
    return folder


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--calls", type=how_many, default=100_000, help="opened at once")
    parser.add_argument("--hold-s", type=how_much, default=60.0, help="after which the student answers")
    parser.add_argument("--pause-s", type=how_much, default=10.0, help="after which memory is looked at again")
    parser.add_argument("--processes", type=how_many, default=cores, help="of the gateway and of bare grpc.aio")
    parser.add_argument("--soak", type=how_much, default=0, metavar="MINUTES", help=f"of {SOAKED_PER_S} calls a second")
    parser.add_argument("--cache-dir", type=Path, default=gateway_tools.CACHE, help="for what is fetched")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    found = measure(given)
    wanted = goals(found["held"], found["burst"], given.calls, found.get("soak"))
    tell("concurrency", {"calls": given.calls, **found}, wanted)


if __name__ == "__main__":
    main()
