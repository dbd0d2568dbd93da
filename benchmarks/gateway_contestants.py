"""Who is put under load by h2load in benchmarks.gateway: the backend, the gateway, bare grpc.aio, a proxy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

import psutil

from benchmarks import engines
from benchmarks.concurrency_watch import Metrics
from benchmarks.gateway_load import Load, Target, asked, grpc_target, http_target, only_answered
from benchmarks.gateway_request import TASK
from benchmarks.gateway_served import Setting, bare, gateway
from deploy.local import ready

SETTLED_SHARE: Final = 0.1
SETTLED_WITHIN_S: Final = 30.0


class Contestant(Protocol):
    """One that can be put under load."""

    def run(self, load: Load) -> dict[str, float]:
        """The figures: calls_per_s, p50_ms, p99_ms, p999_ms, cpu_us a call, failed."""


class Served:
    """A contestant behind a port, with the processes that serve it."""

    def __init__(
        self, setting: Setting, pid: int, target: Callable[[bool], Target], answered: Callable[[], int] | None = None
    ) -> None:
        """`target` makes a Target of whether a stream is wanted; `answered` is the contestant's own count.

        Of gRPC the generator sees no status: a call that failed has HTTP's 200 as well.
        """
        self._setting, self._target, self._answered = setting, target, answered
        self._process = psutil.Process(pid)

    def run(self, load: Load) -> dict[str, float]:
        before_s, answered = self._cpu_s(), self._answered() if self._answered else 0
        found = asked(self._setting.tool, self._target(load.stream), load, self._setting.directory)
        cpu_s = self._cpu_s() - before_s
        self._settle()
        if self._answered:
            found = only_answered(found, self._answered() - answered)
        return found | {"cpu_us": cpu_s * load.cpu_share * 1e6 / max(1, found["calls"])}

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
        metrics = Metrics(at["metrics"], setting.processes)
        answered = partial(metrics.total, "tutelage_exchanges_total", outcome="answered")
        grpc = partial(grpc_target, at["grpc"], TASK, setting.directory)
        http = partial(http_target, at["http"], f"tutelage/{TASK}", "none", setting.directory)
        doors: dict[str, Contestant] = {"grpc": Served(setting, pid, grpc, answered)}
        if ready.accepts(at["http"]):
            doors["http"] = Served(setting, pid, http, answered)
        yield doors


@contextmanager
def echo(setting: Setting) -> Iterator[Contestant]:
    """Bare grpc.aio, which asks nobody."""
    with bare(setting, hold_s=0) as (address, pid):
        yield Served(setting, pid, partial(grpc_target, address, TASK, setting.directory))
