"""One gRPC call as its servicer sees it, and how it is answered. Who answers need not know of HTTP/2."""

import asyncio
import time
from collections.abc import AsyncIterator
from inspect import CORO_CREATED, getcoroutinestate
from math import inf
from typing import Any, Final, Never

from google.protobuf.message import DecodeError
from grpc import StatusCode

from services import telemetry
from services.gateway.grpc_connection import Connection
from services.gateway.grpc_head import WELL, Metadata, status
from services.gateway.grpc_streams import Stream
from services.gateway.held import REQUEST_WITHIN_S

UNSENT_MOST: Final = 64 * 1024
"""Bytes of a stream's pieces that may wait for a caller who reads slowly; then its writer waits."""

NO_MESSAGE: Final = "the request is no message of this call: {}"


class Aborted(Exception):  # noqa: N818
    """How a servicer ends its call with another status than OK."""

    def __init__(self, code: StatusCode, details: str, trailing_metadata: Metadata) -> None:
        super().__init__(details)
        self.code = code
        self.trailing_metadata = trailing_metadata


class Call:
    """What of `grpc.ServicerContext` the services here, gRPC's health and its reflection ask for, and its end."""

    __slots__ = ("_connection", "_is_late", "_method", "_requests", "_room", "_stream", "_timer", "_until_s", "task")

    def __init__(self, connection: Connection, stream: Stream, method: Any) -> None:
        """`method` is a `grpc.RpcMethodHandler`."""
        self._connection = connection
        self._stream = stream
        self._method = method
        self._requests: Any = asyncio.Queue[bytes | None]() if method.request_streaming else None
        self._room: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._is_late = False
        self._until_s = self._timer = None
        if (timeout_s := stream.head.timeout_s) is not None:
            self._until_s = time.monotonic() + timeout_s
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)
        if method.request_streaming:
            self._begin(self._each())

    def invocation_metadata(self) -> Metadata:
        """What the caller said beside the request."""
        return self._stream.head.metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where he has none."""
        return None if self._until_s is None else max(0.0, self._until_s - time.monotonic())

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> Never:
        """End the call with this status."""
        raise Aborted(code, details, trailing_metadata)

    async def write(self, message: Any) -> None:
        """Send one message of several; waits while many of its bytes wait for the caller."""
        stream = self._stream
        self._connection.send(stream, self._method.response_serializer(message))
        while stream.unsent is not None and len(stream.unsent) > UNSENT_MOST:
            await self._some_went_out()

    def sent(self) -> None:
        """Something that was written has gone out."""
        if self._room and not self._room.done():
            self._room.set_result(None)

    def hurry(self) -> None:
        """Have the call end where its one request is not there in time."""
        left_s = self.time_remaining()
        if not self._method.request_streaming and (inf if left_s is None else left_s) > REQUEST_WITHIN_S:
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(REQUEST_WITHIN_S, self._has_come_or_not)

    def take(self, message: bytes) -> None:
        """The caller's next message."""
        if self._method.request_streaming:
            self._requests.put_nowait(message)
        elif self._requests is None:
            self._requests = message
        else:
            self.end(StatusCode.UNIMPLEMENTED, "this call takes one message, and more came")

    def half_closed(self) -> None:
        """The caller has no more messages."""
        if self._method.request_streaming:
            self._requests.put_nowait(None)
        elif self._requests is None:
            self.end(StatusCode.UNIMPLEMENTED, "this call takes one message, and none came")
        else:
            message, self._requests = self._requests, b""
            self._connection.read(self._stream, len(message))
            self._read_and_begin(message)

    def stop(self, *, late: bool = False) -> None:
        """End the work on it. How the call ends is for the work to say, where there is still a caller."""
        self._is_late = late
        if self._timer:
            self._timer.cancel()
        self.sent()  # Nobody need wait for that any more.
        if self.task and self.task.cancel() and _has_begun(self.task.get_coro()):
            return
        if self._stream.gone:
            self._connection.forget(self._stream)
        else:
            self._cut_short()

    def refuse(self, code: StatusCode, text: str, metadata: Metadata = ()) -> None:
        """End a call that its caller may not make so, and the work on it."""
        self.end(code, text, metadata)
        if self.task:
            self.task.cancel()

    def end(self, code: StatusCode, text: str, metadata: Metadata = ()) -> None:
        """End the call with this status, for its caller."""
        stream = self._stream
        if self._timer:
            self._timer.cancel()
        if stream.finished is None:
            self._connection.finish(stream, status(code, text, metadata, has_begun=stream.has_begun))

    async def out(self) -> None:
        """Return when all that was said is with the connection, or the caller has gone."""
        while self._stream.unsent is not None and not self._stream.gone:
            await self._some_went_out()

    async def _some_went_out(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def _read_and_begin(self, message: bytes) -> None:
        try:
            request = self._method.request_deserializer(message)
        except DecodeError as error:
            self.end(StatusCode.INTERNAL, NO_MESSAGE.format(error))
        else:
            self._begin(request)

    async def _each(self) -> AsyncIterator[Any]:
        while (message := await self._requests.get()) is not None:
            self._connection.read(self._stream, len(message))
            try:
                request = self._method.request_deserializer(message)
            except DecodeError as error:
                raise Aborted(StatusCode.INTERNAL, NO_MESSAGE.format(error), ()) from error
            yield request

    def _begin(self, request: Any) -> None:
        self.task = asyncio.get_running_loop().create_task(self._answer(request))

    def _has_come_or_not(self) -> None:
        if not self._stream.half_closed:
            text = f"the request did not arrive within {REQUEST_WITHIN_S:g} s"
            self.end(StatusCode.DEADLINE_EXCEEDED, text)
        elif (left_s := self.time_remaining()) is not None:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _expire(self) -> None:
        self.stop(late=True)

    async def _answer(self, request: Any) -> None:
        try:
            if self._method.response_streaming:
                await self._stream_out(request)
            else:
                await self._whole(request)
        except Aborted as aborted:
            self.end(aborted.code, str(aborted), aborted.trailing_metadata)
        except asyncio.CancelledError:
            self._cut_short()
        except Exception:  # noqa: BLE001
            telemetry.log.exception("a call failed by the gateway's own fault", path=self._stream.head.path)
            self.end(StatusCode.UNKNOWN, "the gateway is at fault; its log says why")

    async def _whole(self, request: Any) -> None:
        method = self._method
        answer = method.unary_unary or method.stream_unary
        reply = method.response_serializer(await answer(request, self))
        if self._timer:
            self._timer.cancel()
        self._connection.send(self._stream, reply, WELL)

    async def _stream_out(self, request: Any) -> None:
        answer = (self._method.unary_stream or self._method.stream_stream)(request, self)
        if hasattr(answer, "__anext__"):
            async for message in answer:
                await self.write(message)
        else:
            await answer
        self.end(StatusCode.OK, "")

    def _cut_short(self) -> None:
        if self._is_late:
            self.end(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        else:
            self.end(StatusCode.UNAVAILABLE, "the gateway stops: try again, another one will answer")


def _has_begun(work: Any) -> bool:
    """Work that has not never hears that it is cancelled."""
    return getcoroutinestate(work) != CORO_CREATED
