"""The Tritons that serve the students: who gets the next call, and the stream to each, opened when it is needed."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from services import telemetry
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.ejection import Ended, Health, after, choices, growing_s
from services.gateway.student_stream import Call, StudentStream, connect
from services.gateway.student_wire import Full

PAUSE_FIRST_S: Final = 0.1
PAUSE_MOST_S: Final = 5.0
"""Between tries to reach a Triton that is away; a stream that had answered is opened anew at once."""


class Replica:
    """One Triton, and the stream to it."""

    def __init__(self, address: str, max_calls: int) -> None:
        self.address = address
        self.asks = 0
        """Asks that are with it, those that wait for its stream among them."""
        self._max_calls = max_calls
        self._stream: StudentStream | None = None
        self._opening: asyncio.Task[StudentStream] | None = None
        self._breaks = 0
        self._not_before_s = 0.0
        self._why = ""

    async def call(self, request_id: str, message: bytes) -> Call:
        """Send a ModelInferRequest with this id. Raises Full, or BackendFailed if Triton can't be reached."""
        stream = self._stream
        if stream is None or not stream.takes_calls:
            stream = await self._open()
        if len(stream) >= self._max_calls:
            limit = f"TRITON_MAX_CALLS is {self._max_calls}: raise it, or add a replica"
            raise Full(f"Triton at {self.address} has {len(stream)} calls in flight; {limit}")
        return stream.call(request_id, message)

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            await self._stream.close()

    async def _open(self) -> StudentStream:
        if self._opening is None:
            self._note_break()
            if (pause_s := self._not_before_s - time.monotonic()) > 0:
                said = f"Triton at {self.address} is tried again in {pause_s:.1f} s: {self._why}"
                raise BackendFailed(FailureKind.UNAVAILABLE, said, retry_after_s=pause_s)
            self._opening = asyncio.get_running_loop().create_task(self._connect())
        return await asyncio.shield(self._opening)  # Others wait for it, too.

    async def _connect(self) -> StudentStream:
        try:
            self._stream = await connect(self.address)
        except BackendFailed as failure:
            self._pause(str(failure), time.monotonic())
            raise
        finally:
            self._opening = None
        return self._stream

    def _note_break(self) -> None:
        broken, self._stream = self._stream, None
        if broken is None or not broken.broken:
            return
        if broken.answered:
            self._breaks = 0
        else:
            self._pause(broken.broken, broken.broken_at_s)

    def _pause(self, why: str, since_s: float) -> None:
        pause_s = growing_s(self._breaks, PAUSE_FIRST_S, PAUSE_MOST_S, random.random())  # noqa: S311 - spreads, guards nothing
        self._breaks += 1
        self._not_before_s, self._why = since_s + pause_s, why


@dataclass(frozen=True, slots=True)
class Turn:
    """A replica that an ask goes to, and how long it has there."""

    replica: Replica
    trial: bool
    timeout_s: float


class Replicas:
    """All of them. A call goes to the one with the fewest, of those that are not ejected."""

    def __init__(self, addresses: Sequence[str], max_calls: int) -> None:
        self._replicas = {address: Replica(address, max_calls) for address in addresses}
        self._healths = {address: Health() for address in addresses}
        for address, replica in self._replicas.items():
            telemetry.TRITON_CALLS.labels(address).set_function(partial(getattr, replica, "asks"))
            telemetry.TRITON_EJECTED.labels(address).set_function(partial(self._is_ejected, address))

    def first(self, timeout_s: float) -> Turn:
        """Where an ask goes: to the replica that is due for a trial, if there is one."""
        chosen = self._fewest(choices(self._healths, time.monotonic()))
        return Turn(self._replicas[chosen], self._healths[chosen].ejected, timeout_s)

    def other(self, than: Replica, timeout_s: float) -> Turn | None:
        """Where it goes when that one failed; None if there is no other that is not ejected, or no time."""
        healthy = [name for name, health in self._healths.items() if not health.ejected and name != than.address]
        return Turn(self._replicas[self._fewest(healthy)], False, timeout_s) if healthy and timeout_s > 0 else None

    @contextmanager
    def taken(self, turn: Turn, is_slow: Callable[[], bool]) -> Iterator[Replica]:
        """While an ask is with the replica; how it ends is held for or against that. `is_slow`: see `Ask`."""
        failed = None
        self._begin(turn)
        try:
            yield turn.replica
            failed = False
        except Full:
            raise
        except BackendFailed as failure:
            failed = None if failure.kind is FailureKind.REFUSED else True
            raise
        except asyncio.CancelledError:
            failed = True if is_slow() else None
            raise
        finally:
            self._end(turn, failed)

    async def close(self) -> None:
        await asyncio.gather(*(replica.close() for replica in self._replicas.values()))

    def _is_ejected(self, address: str) -> bool:
        return self._healths[address].is_left_out(time.monotonic())

    def _fewest(self, addresses: Sequence[str]) -> str:
        if len(addresses) == 1:
            return addresses[0]
        draw = random.random  # Where several have as few, not always the first.
        return min(addresses, key=lambda address: (self._replicas[address].asks, draw()))

    def _begin(self, turn: Turn) -> None:
        turn.replica.asks += 1
        if turn.trial:
            address = turn.replica.address
            self._healths[address] = replace(self._healths[address], on_trial=True)

    def _end(self, turn: Turn, failed: bool | None) -> None:
        turn.replica.asks -= 1
        if len(self._replicas) == 1:
            return  # There is no other to be compared with, and it is never ejected.
        ended = Ended(time.monotonic(), failed, turn.trial, random.random())  # noqa: S311
        address = turn.replica.address
        was, self._healths[address] = self._healths[address], after(self._healths, address, ended)
        if self._healths[address].ejected != was.ejected:
            telemetry.log.warning("a Triton is ejected" if not was.ejected else "a Triton is back", replica=address)
