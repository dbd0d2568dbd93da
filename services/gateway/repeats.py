"""A request_id that comes again by the same key is answered once: the same reply, no second exchange."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import xxhash
from cachetools import TTLCache

from protos import inference_pb2 as inference
from services.gateway.fields import BadInput
from services.gateway.together import Together

_Name = tuple[str, str]
"""A key's id, '' where none is asked for, and the request_id. What one key asked another learns nothing of."""
KEEPING_BYTES: Final = 500
"""What a reply takes beside its own bytes: names, times, places in tables."""


@dataclass(frozen=True, slots=True)
class _Answered:
    fingerprint: int
    reply: bytes


class Repeats:
    """Remembers replies for `max_age_s`, `max_bytes` of them at most, and what is under way without limit.

    Failures are not remembered: whoever asks again is answered anew, under the same id.
    """

    def __init__(self, max_bytes: int, max_age_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._together = Together[tuple[_Name, int], inference.Reply]()
        self._running: dict[_Name, int] = {}
        """The fingerprints of the requests that are under way."""
        self._answered: TTLCache[_Name, _Answered] = TTLCache(max_bytes, max_age_s, now_s, _size_bytes)

    async def once(
        self,
        key_id: str,
        request: inference.Request,
        make: Callable[[], Awaitable[inference.Reply]],
        patience_s: Callable[[], float | None] = lambda: None,
    ) -> inference.Reply:
        """The reply that `make` gave or gives for this request_id. Raises BadInput if it was another request's.

        Raises TimeoutError where the first call was waited for longer than `patience_s`.

        Where the call that is under way ends without a reply, one of those that wait takes its place.
        """
        name = (key_id, request.request_id)
        fingerprint = xxhash.xxh3_64_intdigest(request.SerializeToString(deterministic=True))
        if (known := self._answered.get(name)) is not None:
            _check_same(known.fingerprint, fingerprint)
            return inference.Reply.FromString(known.reply)
        _check_same(self._running.get(name, fingerprint), fingerprint)
        reply, _ = await self._together.once(
            (name, fingerprint), lambda: self._make(name, fingerprint, make), patience_s
        )
        return reply

    async def _make(
        self, name: _Name, fingerprint: int, make: Callable[[], Awaitable[inference.Reply]]
    ) -> inference.Reply:
        # Again: another request may have taken the id while this one waited.
        _check_same(self._running.setdefault(name, fingerprint), fingerprint)
        try:
            reply = await make()
            answered = _Answered(fingerprint, reply.SerializeToString())
            if _size_bytes(answered) <= self._answered.maxsize:
                self._answered[name] = answered
            return reply
        finally:
            del self._running[name]


def _size_bytes(answered: _Answered) -> int:
    return len(answered.reply) + KEEPING_BYTES


def _check_same(known: int, given: int) -> None:
    if known != given:
        raise BadInput(
            "request_id: belongs to another request that is being or was just answered; take a new one, by HTTP in the "
            "header idempotency-key"
        )
