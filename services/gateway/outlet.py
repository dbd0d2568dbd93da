"""A streamed answer as its caller takes it: chunk after chunk, and the whole reply in the last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protos import inference_pb2 as inference
from services.gateway.exchanges import Arrival, Exchanges


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
    """A `Listener` whose chunks can be iterated over until `end`."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[inference.Chunk | None] = asyncio.Queue()
        self._heard = False

    def text(self, delta: str) -> None:
        self._heard = True
        self._chunks.put_nowait(inference.Chunk(delta=delta))

    def restart(self) -> None:
        self._chunks.put_nowait(inference.Chunk(restart=True))

    def end(self) -> None:
        """Nothing comes any more."""
        self._chunks.put_nowait(None)

    async def until(self, reply: "asyncio.Task[inference.Reply]") -> AsyncIterator[inference.Chunk]:
        """Every chunk, and then the reply; with its text where none was heard, as for a repeated request."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        whole = await reply
        yield inference.Chunk(delta="" if self._heard else whole.message.content, reply=whole)


async def _ended(reply: "asyncio.Task[inference.Reply]") -> None:
    """Stop the task if it runs, and see it end: its exchange is then on disk. Its error, if any, was looked at."""
    reply.cancel()
    await asyncio.wait([reply])
    if not reply.cancelled():
        reply.exception()
