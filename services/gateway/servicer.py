"""The gRPC services `Inference` and `Feedback`: calls in, replies out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import uuid_utils
from google.protobuf.timestamp_pb2 import Timestamp

from protos import control_pb2 as control
from protos import control_pb2_grpc, inference_pb2_grpc
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import topics
from services.gateway.door import Door
from services.gateway.exchanges import Arrival, Exchanges
from services.gateway.reception import Reception
from services.gateway.spool import Spool

ORIGIN_KEY: Final = "x-tutelage-origin"
"""gRPC metadata by which intake says that a request came by Kafka."""
ORIGINS: Final = frozenset({"grpc", "kafka"})


class InferenceServicer(inference_pb2_grpc.InferenceServicer):
    """`Complete` and `CompleteStream`."""

    def __init__(self, exchanges: Exchanges, reception: Reception, door: Door) -> None:
        self._exchanges = exchanges
        self._reception = reception
        self._door = door

    async def Complete(self, request: inference.Request, context: Any) -> inference.Reply:
        """One request, one whole answer."""
        return await self._door.call("Complete", context, self._complete, request, context, priority=request.priority)

    async def CompleteStream(self, request: inference.Request, context: Any) -> None:
        """The same, token by token, from whichever backend answers; the last chunk has the whole reply.

        Under a cascade the student's text comes in one piece, since it must be whole before it can be judged, and the
        teacher's comes as it is written. Under the other policies a student's text is passed on at once; where it is
        not kept after all, a chunk with `restart` comes before the teacher's text.
        """
        await self._door.call("CompleteStream", context, self._stream, request, context, priority=request.priority)

    async def _complete(self, request: inference.Request, context: Any) -> inference.Reply:
        return await self._exchanges.reply(self._arrival(request, context))

    async def _stream(self, request: inference.Request, context: Any) -> None:
        outlet = Outlet()
        reply = asyncio.create_task(self._exchanges.reply(self._arrival(request, context), outlet))
        reply.add_done_callback(lambda _done: outlet.end())
        try:
            async for chunk in outlet:
                await context.write(chunk)
            await context.write(outlet.last(await reply))
        finally:
            await _ended(reply)

    def _arrival(self, request: inference.Request, context: Any) -> Arrival:
        origin, authorization = _told(context)
        remaining_s = context.time_remaining()
        return self._reception.arrival(request, origin=origin, remaining_s=remaining_s, authorization=authorization)


class FeedbackServicer(control_pb2_grpc.FeedbackServicer):
    """`Record`."""

    def __init__(self, spool: Spool, reception: Reception, door: Door) -> None:
        self._spool = spool
        self._reception = reception
        self._door = door

    async def Record(self, request: events.FeedbackRecord, context: Any) -> control.FeedbackReceipt:
        """Put the feedback on disk, on its way to Kafka, and return its id."""
        return await self._door.call("Record", context, self._record, request, context)

    async def _record(self, request: events.FeedbackRecord, context: Any) -> control.FeedbackReceipt:
        self._reception.feedback(request, _told(context)[1])
        self._spool.admit()
        record = _stamped(request)
        await self._spool.append(topics.encode(topics.FEEDBACK, record))
        return control.FeedbackReceipt(id=record.id)


def _told(context: Any) -> tuple[str, str]:
    """How the call came, and its header `authorization`, '' where it has none."""
    origin, authorization = "grpc", ""
    for key, value in context.invocation_metadata() or ():
        if key == ORIGIN_KEY and value in ORIGINS:
            origin = value
        elif key == "authorization" and isinstance(value, str):
            authorization = value
    return origin, authorization


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

    def last(self, reply: inference.Reply) -> inference.Chunk:
        """The reply; with its text where none was heard, as for a repeated request."""
        return inference.Chunk(delta="" if self._heard else reply.message.content, reply=reply)

    async def __aiter__(self) -> AsyncIterator[inference.Chunk]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk


async def _ended(reply: "asyncio.Task[inference.Reply]") -> None:
    """Stop the task if it runs, and see it end: its exchange is then on disk. Its error, if any, was looked at."""
    reply.cancel()
    await asyncio.wait([reply])
    if not reply.cancelled():
        reply.exception()


def _stamped(request: events.FeedbackRecord) -> events.FeedbackRecord:
    record = events.FeedbackRecord()
    record.CopyFrom(request)
    record.id = record.id.lower() or str(uuid_utils.uuid7())
    record.exchange_id = record.exchange_id.lower()
    now = Timestamp()
    now.GetCurrentTime()
    record.created_at.CopyFrom(now)
    return record
