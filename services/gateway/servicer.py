"""The gRPC services `Inference` and `Feedback`: calls in, replies out."""

from typing import Any, Final

from protos import control_pb2 as control
from protos import control_pb2_grpc, inference_pb2_grpc
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.door import Door, refused
from services.gateway.exchanges import Arrival, Exchanges
from services.gateway.feedback import keep
from services.gateway.grpc_call import Aborted
from services.gateway.grpc_head import Metadata
from services.gateway.hints import trailers
from services.gateway.outlet import streamed
from services.gateway.reception import Reception
from services.gateway.spool import Spool

ORIGIN_KEY: Final = "x-tutelage-origin"
"""gRPC metadata by which intake says that a request came by Kafka."""
ORIGINS: Final = frozenset({"grpc", "kafka"})
PASSED: Final = frozenset({"authorization", "traceparent"})


class InferenceServicer(inference_pb2_grpc.InferenceServicer):
    """`Complete` and `CompleteStream`."""

    def __init__(self, exchanges: Exchanges, reception: Reception, door: Door) -> None:
        self._exchanges = exchanges
        self._reception = reception
        self._door = door

    def judge(self, path: str, metadata: Metadata) -> None:
        """Raise Aborted, with what the call would end with, where its caller is not known; whatever it asks for."""
        try:
            self._reception.know(_told(metadata).get("authorization", ""))
        except Exception as error:
            refusal = refused(path.rpartition("/")[2], error)
            hints = trailers(refusal.code, str(refusal), refusal.retry_after_s)
            raise Aborted(refusal.code, str(refusal), hints) from error

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
        async with streamed(self._exchanges, self._arrival(request, context)) as chunks:
            async for chunk in chunks:
                await context.write(chunk)

    def _arrival(self, request: inference.Request, context: Any) -> Arrival:
        return self._reception.arrival(
            request, remaining_s=context.time_remaining(), **_told(context.invocation_metadata())
        )


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
        self._reception.feedback(request, _told(context.invocation_metadata()).get("authorization", ""))
        return control.FeedbackReceipt(id=await keep(request, self._spool))


def _told(metadata: Metadata) -> dict[str, str]:
    """How the call came, and what its metadata says of who calls and in which trace."""
    told = {"origin": "grpc"}
    for key, value in metadata:
        if key in PASSED and isinstance(value, str):
            told[key] = value
        elif key == ORIGIN_KEY and value in ORIGINS:
            told["origin"] = value
    return told
