"""A streamed answer as its caller takes it: chunk after chunk, and the whole reply in the last."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from protos import inference_pb2 as inference
from services.gateway.exchanges import Arrival, Exchanges

MOST_WAITING: Final = 8
"""Chunks. Each costs gRPC more than its text does, so of a burst no more are sent one by one."""


@asynccontextmanager
async def streamed(exchanges: Exchanges, arrival: Arrival) -> AsyncIterator["AsyncIterator[inference.Chunk]"]:
    """The chunks of an answer, the last with its reply. Raises what `Exchanges.reply` raises.

    Whoever leaves before the end stops the work; the exchange is on disk by then.
    """
    outlet = Outlet()
    reply = asyncio.create_task(exchanges.reply(arrival, outlet))
    reply.add_done_callback(lambda _done: outlet.end())
    try:
        yield outlet.until(reply)
    finally:
        await _ended(reply)


class Outlet:
    """A `Listener` whose chunks can be iterated over until `end`.

    Where the caller reads more slowly than is written, what comes goes along with the last that waits.
    """

    def __init__(self) -> None:
        self._waiting: deque[list[str]] = deque()  # Joined as they go: a message that grows keeps all that it was.
        self._news = asyncio.Event()
        self._heard = self._over = False

    def text(self, delta: str) -> None:
        self._heard = True
        if len(self._waiting) >= MOST_WAITING and self._waiting[-1]:
            self._waiting[-1].append(delta)
        else:
            self._waiting.append([delta])
            self._news.set()

    def restart(self) -> None:
        self._waiting.append([])
        self._news.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self._over = True
        self._news.set()

    async def until(self, reply: "asyncio.Task[inference.Reply]") -> AsyncIterator[inference.Chunk]:
        """Every chunk, and then the reply; with its text where none was heard, as for a repeated request."""
        while self._waiting or not self._over:
            if self._waiting:
                pieces = self._waiting.popleft()
                yield inference.Chunk(delta="".join(pieces), restart=not pieces)
            else:
                self._news.clear()
                await self._news.wait()
        whole = await reply
        yield inference.Chunk(delta="" if self._heard else whole.message.content, reply=whole)


async def _ended(reply: "asyncio.Task[inference.Reply]") -> None:
    """Stop the task if it runs, and see it end: its exchange is then on disk. Its error, if any, was looked at."""
    reply.cancel()
    await asyncio.wait([reply])
    if not reply.cancelled():
        reply.exception()
