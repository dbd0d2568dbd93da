"""Requests that ask exactly the same: answered from the task's cache, or by the one call that is being answered now.

Each is an exchange of its own nevertheless. It costs nothing, names no attempts, and its reply says `cached`.
"""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cachetools import TTLCache
from prometheus_client import Counter

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import ends
from services.gateway.answering import NoAnswer, too_late
from services.gateway.listening import Clock, Told
from services.gateway.together import Together
from services.tasks import Cache, Task

KEEPING_BYTES: Final = 1_024
"""What it takes to keep an answer, beside its own bytes: its key, its places in the tables."""
LOOKS: Final = Counter(
    "tutelage_cache_total",
    "Calls of tasks with a cache or with coalescing, by where the answer was.",
    ("task", "found"),
)
COALESCING: Final = Cache(ttl_s=1)
"""The rule by which requests are alike where a task coalesces and keeps nothing."""


@dataclass(frozen=True, slots=True)
class _Kept:
    reply: bytes
    at_s: float


class Found(NamedTuple):
    """What is known of a request before anybody is asked: its `digest`, and the answer that is kept."""

    key: bytes | None
    kept: _Kept | None


class Alike:
    """The caches of all tasks, and the calls under way."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kept: dict[str, TTLCache[bytes, _Kept]] = {}
        self._together = Together[bytes, inference.Reply](_for_all)

    def find(self, exchange: events.Exchange, task: Task, promotion_id: str) -> Found:
        """What there is; to be asked once a call, as an answer's time may be over when it is looked for again."""
        key, cache = digest(exchange, task, promotion_id), self._kept.get(task.name)
        return Found(key, None if key is None or cache is None else cache.get(key))

    async def reply(
        self,
        exchange: events.Exchange,
        task: Task,
        found: Found,
        told: Told,
        make: Callable[[], Awaitable[inference.Reply]],
    ) -> inference.Reply:
        """What was answered, is being answered, or `make` answers. Raises NoAnswer, and what `make` raises."""
        key, kept = found
        if key is None:
            return await make()
        if kept is not None:
            why = f"cache: answered {self._now_s() - kept.at_s:.0f} s ago"
            return _given(exchange, inference.Reply.FromString(kept.reply), "hit", why, told)
        reply, anothers = await self._wait(task, key, told.clock, make)
        if anothers:
            return _given(exchange, reply, "coalesced", "coalesced: another call asked the same just then", told)
        return reply

    async def _wait(
        self,
        task: Task,
        key: bytes,
        clock: Clock,
        make: Callable[[], Awaitable[inference.Reply]],
    ) -> tuple[inference.Reply, bool]:
        async def made() -> inference.Reply:
            LOOKS.labels(task.name, "miss").inc()
            reply = await make()
            self._keep(task, key, reply)
            return reply

        try:
            return await self._together.once(key, made, clock.left_s)
        except TimeoutError as error:
            raise too_late(clock, "the call that asked the same first has none") from error

    def _keep(self, task: Task, key: bytes, reply: inference.Reply) -> None:
        if task.cache is None or reply.finish not in ends.COMPLETE or reply.end == inference.END_TRUNCATED:
            return
        kept = _Kept(reply.SerializeToString(), self._now_s())
        if (cache := self._kept.get(task.name)) is None:
            cache = TTLCache(task.cache.max_bytes, task.cache.ttl_s, self._now_s, _size_bytes)
            self._kept[task.name] = cache
        if _size_bytes(kept) <= task.cache.max_bytes:
            cache[key] = kept


def digest(exchange: events.Exchange, task: Task, promotion_id: str) -> bytes | None:
    """By which requests are known to ask the same; None where the task, or this request, asks for an answer anew.

    SHA-256, so that nobody can make a request that has another's answer. Of the metadata only `kind` counts, which may
    decide who answers.
    """
    request = exchange.request
    rule = task.cache or (COALESCING if task.coalesce else None)
    if rule is None or (request.sampling.temperature > 0 and not rule.sampled):
        return None
    asked = inference.Request()
    asked.CopyFrom(request)
    for field in ("request_id", "group_key", "metadata", "priority"):
        asked.ClearField(field)
    whose = (exchange.key_id, request.group_key) if rule.per_group else ()
    apart = json.dumps([promotion_id, request.metadata.get("kind", ""), *whose])
    return sha256(apart.encode() + b"\0" + asked.SerializeToString(deterministic=True)).digest()


def _for_all(error: Exception) -> NoAnswer | None:
    """What nobody could answer, nobody can for the others either. Who was only out of time speaks for himself."""
    if not isinstance(error, NoAnswer) or error.outcome == events.OUTCOME_DEADLINE_EXCEEDED:
        return None
    why = f"coalesced: another call asked the same just then: {error}"
    return NoAnswer(error.outcome, error.kind, why, error.retry_after_s)


def _given(exchange: events.Exchange, reply: inference.Reply, found: str, why: str, told: Told) -> inference.Reply:
    """Another exchange's reply as this one's."""
    LOOKS.labels(exchange.request.task, found).inc()
    given = inference.Reply()
    given.CopyFrom(reply)
    given.exchange_id, given.cached, given.cost_usd, given.why = exchange.id, True, "0", why
    told.rest(given.message.content)
    given.timings.CopyFrom(inference.Timings(total_us=told.clock.elapsed_us(), first_token_us=told.first_token_us))
    return given


def _size_bytes(kept: _Kept) -> int:
    return len(kept.reply) + KEEPING_BYTES
