"""Who is put under load by h2load in benchmarks.gateway: the backend, the gateway, bare grpc.aio, a proxy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

import psutil

from benchmarks import engines
from benchmarks.concurrency_watch import Metrics
from benchmarks.gateway_load import Load, Target, asked, grpc_target, http_target
from benchmarks.gateway_request import TASK
from benchmarks.gateway_served import Setting, bare, gateway
from deploy.local import ready

SETTLED_SHARE: Final = 0.1
SETTLED_WITHIN_S: Final = 60.0


class Contestant(Protocol):
    """One that can be put under load."""

    def run(self, load: Load) -> dict[str, float]:
        """The figures: calls_per_s, p50_ms, p99_ms, p999_ms, cpu_us a call, failed."""


class Served:
    """A contestant behind a port, with the processes that serve it."""

    def __init__(
        self, setting: Setting, pid: int, target: Callable[[bool], Target], refused: Callable[[], int] = lambda: 0
    ) -> None:
        """`target` makes a Target of whether a stream is wanted; `refused` counts what the generator can't see."""
        self._setting, self._target, self._refused = setting, target, refused
        self._process = psutil.Process(pid)

    def run(self, load: Load) -> dict[str, float]:
        before_s, refused = self._cpu_s(), self._refused()
        found = asked(self._setting.tool, self._target(load.stream), load, self._setting.directory)
        cpu_us = (self._cpu_s() - before_s) * load.cpu_share * 1e6 / max(1, found["calls"])
        self._settle()
        refused = self._refused() - refused
        return found | {"cpu_us": cpu_us, "failed": found["failed"] + refused, "calls": found["calls"] - refused}

    def _cpu_s(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in (self._process, *self._process.children(recursive=True)))

    def _settle(self) -> None:
        """Wait until it has done with the calls that the generator left behind: they must not disturb the next one."""
        until_s = time.monotonic() + SETTLED_WITHIN_S
        while time.monotonic() < until_s:
            before_s = self._cpu_s()
            time.sleep(0.2)
            if self._cpu_s() - before_s < 0.2 * SETTLED_SHARE:
                return


def direct(setting: Setting, pid: int) -> Contestant:
    """The backend itself, which is what the others are measured against."""
    return Served(setting, pid, partial(http_target, setting.backend, "gpt-4", "none", setting.directory))


@contextmanager
def ours(setting: Setting) -> Iterator[dict[str, Contestant]]:
    """The gateway, by each of its doors."""
    with engines.broker(setting.directory) as kafka, gateway(setting, kafka) as (at, pid):
        refused = partial(Metrics(at["metrics"], setting.processes).total, "tutelage_refused_calls_total")
        grpc = partial(grpc_target, at["grpc"], TASK, setting.directory)
        http = partial(http_target, at["http"], f"tutelage/{TASK}", "none", setting.directory)
        doors: dict[str, Contestant] = {"grpc": Served(setting, pid, grpc, refused)}
        if ready.accepts(at["http"]):
            doors["http"] = Served(setting, pid, http)
        yield doors


@contextmanager
def echo(setting: Setting) -> Iterator[Contestant]:
    """Bare grpc.aio, which asks nobody."""
    with bare(setting, hold_s=0) as (address, pid):
        yield Served(setting, pid, partial(grpc_target, address, TASK, setting.directory))
