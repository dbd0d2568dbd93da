"""Load on one contestant by h2load, gRPC and HTTP/1.1 alike, and what came of it."""

import math
import os
import resource
import statistics
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from benchmarks.gateway_request import grpc_fields, http_body
from benchmarks.gateway_tools import Tool
from protos import inference_pb2 as inference

WARM_UP_S: Final = 0.5
GRPC_CONNECTIONS: Final = 64
"""At most: more streams share them. Processes that share a port share connections, not streams."""
PACED_CONNECTIONS: Final = 50
"""At a fixed rate each asks in turn, so that calls come evenly: 20 a second each, of 1,000."""
DEADLINE_S: Final = 3_600
PATIENCE_S: Final = 2.0
"""Beyond its time: what a contestant that can't keep up with the rate has not answered by then is cut off."""
CUT_OFF_US: Final = 100_000
"""Calls without a status that end as late as this before the last of all were ended by the generator's own end."""
PERMILLES: Final = {"p50_ms": 500, "p99_ms": 990, "p999_ms": 999}


@dataclass(frozen=True)
class Load:
    """What is asked of the generator. `rate` is in calls a second; 0 means as many as come back."""

    streams: int
    stream: bool
    seconds: float
    rate: int = 0

    @property
    def name(self) -> str:
        """As it stands in the result."""
        kind = "stream" if self.stream else "unary"
        return f"{kind}, {self.rate}/s" if self.rate else f"{kind}, {self.streams} at once"

    @property
    def cpu_share(self) -> float:
        """The part of the processor time that belongs to the calls that are counted: the warm-up's are not."""
        return 1.0 if self.rate else self.seconds / (self.seconds + WARM_UP_S)


@dataclass(frozen=True)
class Target:
    """Whom h2load asks: the URL, its headers, the file of the request's body."""

    url: str
    headers: tuple[str, ...]
    body: Path
    grpc: bool


def grpc_target(address: str, task: str, directory: Path, stream: bool) -> Target:
    """The gateway's own call, framed as gRPC frames it."""
    message = json_format.ParseDict(grpc_fields(task), inference.Request()).SerializeToString()
    (body := directory / f"{task}.grpc").write_bytes(struct.pack(">BI", 0, len(message)) + message)
    method = "CompleteStream" if stream else "Complete"
    headers = ("content-type: application/grpc", "te: trailers", f"grpc-timeout: {DEADLINE_S}S")
    return Target(f"http://{address}/tutelage.v1.Inference/{method}", headers, body, grpc=True)


def http_target(address: str, model: str, key: str, directory: Path, stream: bool) -> Target:
    """An OpenAI-compatible chat completion."""
    (body := directory / f"{model.replace('/', '-')}-{stream}.json").write_text(http_body(model, stream))
    headers = ("content-type: application/json", f"authorization: Bearer {key}")
    return Target(f"http://{address}/v1/chat/completions", headers, body, grpc=False)


def arguments(target: Target, load: Load, log: Path) -> list[str]:
    """h2load's command line, without its name."""
    said = _common(target, log)
    if load.rate:
        each = load.rate // PACED_CONNECTIONS
        said += [f"--clients={PACED_CONNECTIONS}", "--rate=1", "--rate-period=1ms", f"--rps={each}"]
        return [*said, f"--requests={round(load.rate * load.seconds)}", target.url]
    connections = min(load.streams, GRPC_CONNECTIONS) if target.grpc else load.streams
    said += [f"--clients={connections}", f"--max-concurrent-streams={load.streams // connections}"]
    return [*said, f"--duration={load.seconds * 1e3:.0f}ms", f"--warm-up-time={WARM_UP_S * 1e3:.0f}ms", target.url]


def at_once(target: Target, calls: int, log: Path) -> list[str]:
    """The same where so many calls are opened at once, each one time."""
    connections = min(calls, GRPC_CONNECTIONS)
    streams = math.ceil(calls / connections)
    said = [f"--clients={connections}", f"--max-concurrent-streams={streams}", f"--requests={calls}"]
    return [*_common(target, log), *said, target.url]


def _common(target: Target, log: Path) -> list[str]:
    said = [f"--header={header}" for header in target.headers] + ["--threads=1", f"--data={target.body}"]
    return [*said, f"--log-file={log}", *([] if target.grpc else ["--h1"])]


def asked(tool: Tool, target: Target, load: Load, directory: Path) -> dict[str, float]:
    """Put the load on; the figures. RuntimeError with h2load's words if it can't."""
    within_s = load.seconds + PATIENCE_S + WARM_UP_S
    lines, cpu_s = _run(tool, partial(arguments, target, load), directory, within_s)
    found = figures(lines, load)
    return found | {"generator_cpu_us": cpu_s * load.cpu_share * 1e6 / max(1, found["calls"])}


def burst(tool: Tool, target: Target, calls: int, directory: Path) -> dict[str, float]:
    """Open so many calls at once; the figures when the last has ended."""
    lines, _ = _run(tool, partial(at_once, target, calls), directory, DEADLINE_S)
    found = figures(lines, Load(0, stream=False, seconds=0, rate=calls))
    return found | {"seconds": found["calls"] / found["calls_per_s"] if found["calls"] else 0.0}


def _run(tool: Tool, command: Callable[[Path], list[str]], directory: Path, within_s: float) -> tuple[list[str], float]:
    """h2load's log, and the seconds of processor time that it took. It writes a line as each call ends."""
    (log := directory / "h2load.log").write_text("")
    before_s = _children_s()
    environment = {**os.environ, **tool.environment}
    with subprocess.Popen(
        [str(tool.program), *command(log)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
    ) as child:
        try:
            said, _ = child.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            said, _ = child.communicate()
        else:
            if child.returncode:
                raise RuntimeError(f"h2load failed:\n{said[-2000:]}")
    whole, _, _ = log.read_text().rpartition("\n")
    return whole.splitlines(), _children_s() - before_s


def figures(lines: Sequence[str], load: Load) -> dict[str, float]:
    """Of h2load's log, a line per call: start in us, HTTP status, us that it took."""
    calls = [(int(begun), status, int(took)) for begun, status, took in (line.split("\t") for line in lines)]
    over_us = max((begun + took for begun, _, took in calls), default=0) - CUT_OFF_US
    good = [(begun, took) for begun, status, took in calls if status == "200"]
    failed = sum(_failed(status, begun + took, over_us) for begun, status, took in calls)
    found = {"calls": len(good), "failed": failed, "calls_per_s": len(good) / _lasted_s(good, load)}
    # Of calls that were cut off by the end nothing is known: where they are many, the rest does not stand for all.
    known = len(good) >= max(2, 2 * load.streams)
    return found | (percentiles_ms([took for _, took in good]) if known else {})


def only_answered(found: dict[str, float], answered: int) -> dict[str, float]:
    """The figures where the contestant itself knows of only so many answers, those of the warm-up included."""
    calls = min(found["calls"], answered)
    rate = found["calls_per_s"] * calls / max(1, found["calls"])
    return found | {"calls": calls, "failed": found["failed"] + found["calls"] - calls, "calls_per_s": rate}


def _failed(status: str, ended_us: int, over_us: int) -> bool:
    """h2load writes -1 where a stream was cut, and 0 where a call's headers came before the warm-up was over."""
    return status not in {"200", "0"} and (status != "-1" or ended_us < over_us)


def _lasted_s(good: Sequence[tuple[int, int]], load: Load) -> float:
    if not load.rate or not good:
        return load.seconds
    return max(load.seconds, (max(begun + took for begun, took in good) - min(begun for begun, _ in good)) / 1e6)


def percentiles_ms(took_us: Sequence[int]) -> dict[str, float]:
    """Of two calls or more."""
    cuts = statistics.quantiles(took_us, n=1000, method="inclusive")
    return {name: cuts[permille - 1] / 1e3 for name, permille in PERMILLES.items()}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
