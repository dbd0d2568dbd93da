"""The other backend's answer to a call that was answered: asked for unseen, and put beside the caller's on `shadows`.

The caller has his reply by then, so nothing here can delay, change or fail it. What an unseen answer cost stands on its
attempt and in the metrics, and not in the reply, as the caller did not ask for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Final, Protocol

from prometheus_client import Counter

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import ends, estimates
from services.gateway.backends import Ask, Backend, BackendFailed
from services.gateway.listening import stamp
from services.gateway.pairing import OTHER, begun, conclude, side
from services.gateway.spool import SpoolFull
from services.gateway.standing import NAMES, said_of
from services.tasks import Task
from services.topics import SHADOWS, Record, encode

MOST_BYTES: Final = 900_000
"""Of a pair: what a topic takes by Kafka's own default. Larger ones are not compared."""
COMPARED: Final = Counter(
    "tutelage_shadow_calls_total",
    "Calls chosen to be compared: paired, or skipped as too many were open, the spool was full or the pair too large.",
    ("task", "result"),
)


class Pairs(Protocol):
    """Where pairs are written: `spool.Spool`."""

    def admit(self) -> None:
        """Raise SpoolFull if no more can be written."""

    def append(self, record: Record) -> Awaitable[None]:
        """To be awaited until it is on disk. Raises SpoolFull if it can't be."""


class Shadows:
    """Compares calls in the background, some at a time."""

    def __init__(
        self, backends: Mapping[inference.Backend, Backend], pairs: Pairs, *, most_at_once: int, timeout_s: float
    ) -> None:
        """More than `most_at_once` are skipped. No unseen answer is waited for longer than `timeout_s`."""
        self._backends = backends
        self._pairs = pairs
        self._most_at_once = most_at_once
        self._timeout_s = timeout_s
        self._open: set[asyncio.Task[None]] = set()

    def begin(self, exchange: events.Exchange, task: Task, promotion: events.Promotion | None) -> None:
        """Compare an exchange that is on disk, if it was chosen for that. Returns at once."""
        if (pair := begun(exchange, task, promotion)) is None:
            return
        if len(self._open) >= self._most_at_once:
            COMPARED.labels(task.name, "skipped").inc()
            return
        comparing = asyncio.get_running_loop().create_task(self._compare(pair, exchange.request, task))
        self._open.add(comparing)
        comparing.add_done_callback(self._ended)

    async def close(self) -> None:
        """Give up what is open."""
        for comparing in self._open:
            comparing.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _compare(self, pair: events.ShadowPair, request: inference.Request, task: Task) -> None:
        result = "skipped"
        try:
            self._pairs.admit()
            await self._ask(pair, request, task)
            conclude(pair, task, request)
            stamp(pair.compared_at)
            if pair.ByteSize() <= MOST_BYTES:
                await self._pairs.append(encode(SHADOWS, pair))
                result = "paired"
        except SpoolFull:
            pass  # Calls themselves are refused now, with a word about it in the log.
        finally:
            COMPARED.labels(task.name, result).inc()

    async def _ask(self, pair: events.ShadowPair, request: inference.Request, task: Task) -> None:
        """Ask the backend that has not said anything yet. A pair holds its failure as it holds an answer."""
        other = OTHER[pair.answered_by]
        if (attempt := side(pair, other)).backend:
            return
        attempt.backend, attempt.shadow = other, True
        attempt.student_version = pair.student_version if other == inference.BACKEND_STUDENT else 0
        timeout_s, started_s = self._limit_s(task, other), time.monotonic()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                ask = Ask(task, request, pair.id, pair.student_version, timeout_s, is_slow=limit.expired)
                attempt.MergeFrom(await self._backends[other].answer(ask, None))
        except TimeoutError:
            attempt.refusal = f"timeout: no answer within {timeout_s:.2f} s"
        except BackendFailed as failure:
            attempt.refusal = str(failure)
        attempt.latency_us = round((time.monotonic() - started_s) * 1e6)
        _account(attempt, task, request)

    def _limit_s(self, task: Task, backend: inference.Backend) -> float:
        """A student has the time that it would have before a caller."""
        own_s = task.student.timeout_s if backend == inference.BACKEND_STUDENT else self._timeout_s
        return min(own_s, self._timeout_s)

    def _ended(self, comparing: "asyncio.Task[None]") -> None:
        self._open.discard(comparing)
        if not comparing.cancelled() and (fault := comparing.exception()) is not None:
            telemetry.log.error("a call was not compared by the gateway's own fault", exc_info=fault)


def _account(attempt: events.Attempt, task: Task, request: inference.Request) -> None:
    if not attempt.refusal and not estimates.is_told(attempt.usage):
        text = estimates.written(attempt)
        attempt.usage.CopyFrom(estimates.usage(task, request, attempt.backend, text, pieces=0))
    attempt.end = inference.END_FAILED if attempt.refusal else ends.of_answer(attempt.finish)
    cost = said_of(task, attempt.backend).prices.cost(attempt.usage)
    attempt.cost_usd = f"{cost:f}"
    telemetry.COST.labels(task.name, NAMES[attempt.backend]).inc(float(cost))
