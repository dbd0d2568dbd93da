"""A gRPC server on the event loop: listens, and hands calls to servicers as generated code registers them.

Of `grpc.aio`'s server it takes the place, not the whole of its interface: see `grpc_call.Call` for what calls can do.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import grpc
from grpc import StatusCode

from services import telemetry
from services.gateway.grpc_call import Aborted, Call
from services.gateway.grpc_connection import Connection
from services.gateway.grpc_head import Metadata, block, status
from services.gateway.grpc_messages import Unreadable
from services.gateway.grpc_streams import CALM, Broken, Stream
from services.gateway.held import Held
from services.gateway.sockets import BACKLOG, HANDSHAKE_WITHIN_S, keep_alive, listening

GREETING_WITHIN_S: Final = 20.0
"""How long a connection may take to say that it speaks HTTP/2."""
PUBLIC_MESSAGE_MOST: Final = 4096
"""Bytes of a message to a service that anybody may ask: a service's name, a symbol's."""
PUBLIC_OPEN_MOST: Final = 1_000
"""Calls to such services that last, or do not come whole. There are no others' keys to count them by."""
PUBLIC_UNTAKEN_MOST: Final = 16 * PUBLIC_MESSAGE_MOST
UNTAKEN: Final = f"more than {PUBLIC_UNTAKEN_MOST} bytes wait on this call: wait for an answer before you send more"
UNREAD_MOST: Final = 64 * 1024**2
"""Bytes that a connection's peer may leave unread; who asks on and never reads is cut off."""
UNREAD_BY_ALL_MOST: Final = 1024**3
"""Bytes that all peers together may leave unread, in answers and windows: above it, who leaves most is cut off."""
LOOK_EVERY_S: Final = 2.0
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3))
"""A peer that vanished without a word is found out after two minutes."""
Judge = Callable[[str, Metadata], None]
"""Judges a call by its path and its caller's metadata, before its request has come. Raises Aborted."""


class GrpcServer:
    """Serves what was added to it, until `close`."""

    def __init__(
        self,
        *,
        message_most: int,
        streams_most: int,
        public: Collection[str] = (),
        judge: Judge | None = None,
        held: Held | None = None,
    ) -> None:
        """`message_most` in bytes; of more calls on one connection than `streams_most` the peer may try again.

        `public` are the services that anybody may ask: with short messages, and a bounded number of calls. Before any
        other call is waited for that did not come whole, `judge` is asked. `held` may be counted by others, too.
        """
        self.message_most = message_most
        self.streams_most = streams_most
        self.judge = judge
        self.held = held or Held()
        self.open_to_public = set[Stream]()
        """Calls of them that last, or have not come whole."""
        self._public = frozenset(public)
        self._public_paths = set[str]()
        self.connections = set[Peer]()
        self._methods: dict[str, Any] = {}
        self._listening: asyncio.Server | None = None
        self._looking: asyncio.TimerHandle | None = None

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """As generated code calls it: a service's `grpc.RpcMethodHandler`s by their names."""
        methods = {f"/{service}/{name}": handler for name, handler in handlers.items()}
        self._methods |= methods
        if service in self._public:
            self._public_paths |= methods.keys()

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Generated code calls this too, for servers that don't know the other."""

    def method(self, path: str) -> Any:
        """A `grpc.RpcMethodHandler`; None where there is no such method."""
        return self._methods.get(path)

    def is_public(self, path: str) -> bool:
        """Whether anybody may ask this."""
        return path in self._public_paths

    async def listen(self, address: str, tls: ssl.SSLContext | None, *, reuse_port: bool) -> int:
        """Begin to serve on host:port; returns the port. Raises OSError."""
        bound = listening(address, reuse_port=reuse_port)
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: Peer(self),
            sock=bound,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_WITHIN_S if tls else None,
            backlog=BACKLOG,
        )
        self._look()
        return int(self._listening.sockets[0].getsockname()[1])

    def leave(self) -> None:
        """Take no new connections, and tell those that there are to take new calls elsewhere."""
        if self._listening:
            self._listening.close()
        if self._looking:
            self._looking.cancel()
        for peer in self.connections:
            peer.connection.leave()

    async def close(self, grace_s: float) -> None:
        """Return when all calls have ended and their callers have heard it, at the latest after `grace_s`."""
        until_s = time.monotonic() + grace_s
        calls = [stream.call for peer in self.connections for stream in peer.connection.streams]
        _, late = await _wait([call.task for call in calls if call.task], until_s)
        for call in calls:
            if call.task in late:
                call.stop()
        await asyncio.gather(*late, return_exceptions=True)
        _, unheard = await _wait([asyncio.ensure_future(call.out()) for call in calls], until_s)
        for waiting in unheard:
            waiting.cancel()
        for peer in self.connections:
            peer.transport.close()
        await _wait([peer.lost for peer in self.connections], until_s)
        for peer in self.connections:
            peer.transport.abort()

    def _look(self) -> None:
        """Cut off who leaves most unread, where all together leave too much; and look again in a moment."""
        unread = {peer: peer.unread_bytes for peer in self.connections}
        total = sum(unread.values())
        while total > UNREAD_BY_ALL_MOST:
            worst = max(unread, key=lambda peer: unread[peer])
            total -= (size := unread.pop(worst))
            telemetry.log.warning("a caller who leaves most unread, of too much, is cut off", unread_bytes=size)
            worst.transport.abort()
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)


async def _wait(futures: Sequence[asyncio.Future[None]], until_s: float) -> Any:
    """Those that were done by then, and the others."""
    return await asyncio.wait(futures, timeout=max(0.0, until_s - time.monotonic())) if futures else (set(), set())


class Peer(asyncio.Protocol):
    """One connection; the `Calls` of what it says."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        keep_alive(transport.get_extra_info("socket"), KEEPALIVE)
        server = self._server
        self.connection = Connection(
            self._write,
            self,
            message_most=server.message_most,
            streams_most=server.streams_most,
            held=server.held,
        )
        server.connections.add(self)
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._greeting = loop.call_later(GREETING_WITHIN_S, self._greeted_or_not)
        server.held.connections += 1
        if server.held.too_many:
            self.connection.leave(CALM, server.held.too_many)
            transport.close()

    @property
    def unread_bytes(self) -> int:
        """What waits for it to read, or to open a window."""
        return self.transport.get_write_buffer_size() + self.connection.waiting_bytes

    def data_received(self, data: bytes) -> None:
        try:
            self.connection.receive(data)
        except Broken as broken:
            self.connection.leave(broken.code, str(broken))
            self.transport.close()

    def pause_writing(self) -> None:
        self.connection.full(True)

    def resume_writing(self) -> None:
        self.connection.full(False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._server.held.connections -= 1
        self._greeting.cancel()
        self.connection.lost()
        self.lost.set_result(None)

    def begin(self, stream: Stream) -> None:
        """A call has begun."""
        head = stream.head
        method = self._server.method(head.path)
        if head.http_status != 200:
            self.connection.finish(stream, block((":status", str(head.http_status))))
        elif head.wrong:
            self._refuse(stream, StatusCode.INTERNAL, head.wrong)
        elif method is None:
            self._refuse(stream, StatusCode.UNIMPLEMENTED, f"there is no method {head.path[:200]}")
        elif self._server.is_public(head.path):
            self._begin_public(stream, method)
        else:
            stream.call = Call(self.connection, stream, method)

    def waits(self, stream: Stream) -> None:
        """Not all of it came at once: its caller is to be one for whom the rest may be waited for."""
        server, call = self._server, stream.call
        try:
            if server.is_public(stream.head.path):
                self._count(stream)
            elif server.judge:
                server.judge(stream.head.path, stream.head.metadata)
        except Aborted as no:
            call.refuse(no.code, str(no), no.trailing_metadata)
        else:
            call.hurry()

    def message(self, stream: Stream, message: bytes) -> None:
        """One of its messages."""
        if stream.among is not None and stream.untaken > PUBLIC_UNTAKEN_MOST:
            stream.call.refuse(StatusCode.RESOURCE_EXHAUSTED, UNTAKEN)
        else:
            stream.call.take(message)

    def half_closed(self, stream: Stream) -> None:
        """There are no more."""
        stream.call.half_closed()

    def unreadable(self, stream: Stream, error: Unreadable) -> None:
        """What came is no message."""
        stream.call.refuse(error.code, str(error))

    def gone(self, stream: Stream) -> None:
        """Its caller went away."""
        stream.call.stop()

    def sent(self, stream: Stream) -> None:
        """Some of what waited has gone out."""
        stream.call.sent()

    def overfull(self) -> None:
        """Its caller leaves too much of them unread."""
        self.transport.abort()

    def _begin_public(self, stream: Stream, method: Any) -> None:
        try:
            if method.request_streaming or method.response_streaming:
                self._count(stream)
        except Aborted as no:
            self._refuse(stream, no.code, str(no))
        else:
            stream.messages.most = min(PUBLIC_MESSAGE_MOST, stream.messages.most)
            stream.call = Call(self.connection, stream, method)

    def _count(self, stream: Stream) -> None:
        """Raise Aborted where too many calls that anybody may make are open."""
        counted = self._server.open_to_public
        if stream not in counted and len(counted) >= PUBLIC_OPEN_MOST:
            text = f"{PUBLIC_OPEN_MOST} calls of this kind are open, the limit of this gateway: try again later"
            raise Aborted(StatusCode.RESOURCE_EXHAUSTED, text, ())
        counted.add(stream)
        stream.among = counted

    def _refuse(self, stream: Stream, code: StatusCode, text: str) -> None:
        self.connection.finish(stream, status(code, text, has_begun=False))

    def _greeted_or_not(self) -> None:
        if not self.connection.is_greeted:
            self.transport.abort()

    def _write(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() > UNREAD_MOST:
            self.transport.abort()
        else:
            self.transport.write(data)
