"""One connection to a Triton, one ModelStreamInfer stream on it, and many calls in flight, told apart by their ids."""

import asyncio
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Final, cast

from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.grpc_stream import GrpcStream
from services.gateway.sockets import BACKEND_KEEPALIVE, keep_alive
from services.gateway.student_wire import Response, failed, read

METHOD: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
CONNECT_S: Final = 5.0
"""A Triton that can't be connected to in this time is as good as away."""
DRAIN_S: Final = 2.0
"""What closing waits for answers to end: Triton keeps for ever what is cut off as its last response arrives."""
UNACKNOWLEDGED_MS: Final = 10_000
"""A host that acknowledges nothing for so long is gone, and the calls on it fail."""


class Call:
    """One call on a stream."""

    __slots__ = ("_come", "_failure", "_stream", "_waiter", "over", "request_id")

    def __init__(self, stream: "StudentStream", request_id: str) -> None:
        self._stream = stream
        self.request_id = request_id
        self.over = False
        """Whether all that comes of it has come, be it an answer or a failure."""
        self._come: deque[Response] = deque()
        self._failure: BackendFailed | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> Response | None:
        """The next response; None when all have come. Raises BackendFailed if the call failed or its stream broke."""
        if not self._come and not self.over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._come:
            return self._come.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    def leave(self, cancel: bytes) -> None:
        """Want no more of it; `cancel` is a ModelInferRequest that should end it in Triton."""
        self._stream.leave(self.request_id, cancel)

    def take(self, response: Response) -> None:
        """The stream has a response for it."""
        if response.error:
            self._failure = failed(response.error)
        else:
            self._come.append(response)
        self.over = response.final
        self._wake()

    def fail(self, failure: BackendFailed) -> None:
        """There is no more to come."""
        self._failure, self.over = failure, True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class StudentStream(asyncio.Protocol):
    """An open stream. When it breaks every call on it fails, at once; then it is of no more use."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._grpc = GrpcStream(address, METHOD)
        self._calls: dict[str, Call] = {}
        self._transport: asyncio.Transport | None = None
        self._writes, self._flushing = True, False
        self._idle = asyncio.Event()
        self._idle.set()
        self._lost = asyncio.Event()
        self.answered = False
        """Whether anything ever came on it."""
        self.broken = ""
        """Why it is over, for people; '' while it goes on."""
        self.broken_at_s = 0.0

    @property
    def takes_calls(self) -> bool:
        return not self.broken and not self._grpc.leaving

    def __len__(self) -> int:
        """The calls in flight."""
        return len(self._calls)

    def call(self, request_id: str, message: bytes) -> Call:
        """Send a ModelInferRequest that has this id, which no call in flight may have."""
        call = self._calls[request_id] = Call(self, request_id)
        self._idle.clear()
        self._send(request_id, message)
        return call

    def leave(self, request_id: str, cancel: bytes) -> None:
        """Forget a call. If it was sent and has not ended, `cancel` is sent."""
        if self._calls.pop(request_id, None) is None or self.broken:
            return
        if not self._grpc.withdraw(request_id):
            self._send(f"cancel {request_id}", cancel)
        self._rest()

    async def close(self) -> None:
        """Wait a little for the calls to end, say goodbye and hear Triton's; then cut."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._idle.wait()
                    self._flush()  # A cancelling may still be to send.
                    self._transport.write(self._grpc.half_close())
                    await self._lost.wait()
        finally:
            self._break("the gateway closed it")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        # Not by HTTP/2's PING: gRPC's servers take one in five minutes and hang up at the third more.
        keep_alive(connection, BACKEND_KEEPALIVE)
        self._flush()

    def data_received(self, data: bytes) -> None:
        for message in self._grpc.receive(data):
            self._dispatch(read(message))
        if self._grpc.ended:
            self._break(self._grpc.ended)
        else:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(str(exc or "the connection was closed"))

    def pause_writing(self) -> None:
        self._writes = False

    def resume_writing(self) -> None:
        self._writes = True
        self._flush()

    def _dispatch(self, response: Response) -> None:
        self.answered = True
        if response.error and not response.request_id:
            self._break(f"an error of no call: {response.error}")
        call = self._calls.get(response.request_id)
        if call is None:
            return  # Nobody wants it any more, or it answers a cancelling.
        call.take(response)
        if response.final:
            del self._calls[response.request_id]
            self._rest()

    def _rest(self) -> None:
        if self._calls:
            return
        self._idle.set()
        if self._grpc.leaving and self._transport is not None:
            self._transport.write(self._grpc.half_close())

    def _send(self, key: str, message: bytes) -> None:
        self._grpc.send(key, message)
        if not self._flushing:  # All that is asked in one turn of the loop goes out together.
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._transport.is_closing():
            return
        sending = self._grpc.control_to_send() + (self._grpc.data_to_send() if self._writes else b"")
        if sending:
            self._transport.write(sending)

    def _break(self, why: str) -> None:
        if self.broken:
            return
        self.broken, self.broken_at_s = why, time.monotonic()
        self._lost.set()
        if self._transport is not None:
            self._transport.abort()
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.fail(BackendFailed(FailureKind.UNAVAILABLE, f"the stream to Triton at {self._address} broke: {why}"))
        self._idle.set()


async def connect(address: str) -> StudentStream:
    """A stream to Triton's gRPC at host:port. Raises BackendFailed if nobody listens there."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, stream = await loop.create_connection(lambda: StudentStream(address), host.strip("[]"), int(port))
    except TimeoutError as error:
        raise BackendFailed(
            FailureKind.UNAVAILABLE, f"Triton at {address}: not connected in {CONNECT_S:g} s"
        ) from error
    except OSError as error:
        raise BackendFailed(FailureKind.UNAVAILABLE, f"Triton at {address}: {error.strerror or error}") from error
    return stream
