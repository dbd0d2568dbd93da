"""A service that says again what it hears, on the gateway's own gRPC server or on grpc.aio's, and callers of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import h2.events
from google.protobuf.wrappers_pb2 import BytesValue
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server as add_reflection
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from services.gateway.frames import DEFAULT_FRAME
from services.gateway.grpc_server import GrpcServer
from tests.services.gateway import grpc_caller
from tests.services.gateway.grpc_caller import NONE, grpc_bytes

SERVICE: Final = "tests.Echo"
MESSAGE_MOST: Final = 8 * 1024**2 + 1024
STREAMS_MOST: Final = 2_000


@dataclass
class Echo:
    """What it did."""

    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    heard: list[tuple[Any, ...]] = field(default_factory=list)
    remaining_s: float | None = None
    trailing: tuple[tuple[str, str | bytes], ...] = ()
    details: str = ""
    pieces: int = 0

    async def say(self, request: BytesValue, context: Any) -> BytesValue:
        self.heard = [tuple(pair) for pair in context.invocation_metadata()]
        self.remaining_s = context.time_remaining()
        return request

    async def wait(self, request: BytesValue, context: Any) -> BytesValue:
        self.begun.release()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return request

    async def refuse(self, request: BytesValue, context: Any) -> BytesValue:
        await context.abort(grpc.StatusCode.NOT_FOUND, self.details, self.trailing)
        raise AssertionError

    async def fail(self, request: BytesValue, context: Any) -> BytesValue:
        raise ArithmeticError("a secret")

    async def repeat(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue]:
        """As many pieces as its first byte says, or without an end where it is nothing."""
        self.pieces, most = 0, request.value[0]
        try:
            while not most or self.pieces < most:
                self.pieces += 1
                yield BytesValue(value=request.value[1:])
        finally:
            self.cancelled.release()

    async def chat(self, requests: AsyncIterator[BytesValue], context: Any) -> AsyncIterator[BytesValue]:
        self.begun.release()
        try:
            async for request in requests:
                yield request
        finally:
            self.cancelled.release()

    async def gather(self, requests: AsyncIterator[BytesValue], context: Any) -> BytesValue:
        return BytesValue(value=b"".join([request.value async for request in requests]))

    @property
    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        reads = BytesValue.FromString, BytesValue.SerializeToString
        unary = {"Say": self.say, "Wait": self.wait, "Refuse": self.refuse, "Fail": self.fail}
        return {
            **{name: grpc.unary_unary_rpc_method_handler(method, *reads) for name, method in unary.items()},
            "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat, *reads),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, *reads),
            "Gather": grpc.stream_unary_rpc_method_handler(self.gather, *reads),
        }


@dataclass
class Serving:
    """The service where it can be called."""

    port: int
    echo: Echo
    stop: Callable[[float], Awaitable[None]]
    """Takes no more calls, and returns when the open ones have ended, which are cut short after so many seconds."""
    health: Any
    ours: GrpcServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self, **options: Any) -> Any:
        named = [(f"grpc.{name}", value) for name, value in {"use_local_subchannel_pool": 1, **options}.items()]
        return grpc.aio.insecure_channel(self.address, options=named)


@asynccontextmanager
async def serving_ours(**limits: Any) -> AsyncIterator[Serving]:
    """On the gateway's server."""
    server = GrpcServer(**{"message_most": MESSAGE_MOST, "streams_most": STREAMS_MOST, **limits})
    echo, health_servicer = _added(server)
    port = await server.listen("127.0.0.1:0", None, reuse_port=False)

    async def stop(grace_s: float) -> None:
        server.leave()
        await server.close(grace_s)

    yield Serving(port, echo, stop, health_servicer, server)
    await stop(0)


@asynccontextmanager
async def serving_theirs() -> AsyncIterator[Serving]:
    """On grpc.aio's."""
    limits = {"max_receive_message_length": MESSAGE_MOST, "max_concurrent_streams": STREAMS_MOST}
    server = grpc.aio.server(options=[(f"grpc.{name}", value) for name, value in limits.items()])
    echo, health_servicer = _added(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Serving(port, echo, server.stop, health_servicer)
    await server.stop(0)


def _added(server: Any) -> tuple[Echo, Any]:
    echo, health_servicer = Echo(), health.aio.HealthServicer()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, echo.handlers),))
    server.add_registered_method_handlers(SERVICE, echo.handlers)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    add_reflection(reflection.aio.ReflectionServicer((SERVICE, health_pb2.DESCRIPTOR.name)), server)
    return echo, health_servicer


class RawCaller:
    """h2's client at a socket, which reads when it is told to, and says what no real client would."""

    def __init__(self, port: int, **settings: int) -> None:
        """`settings`: by the names of h2's `SettingCodes`."""
        self._port = port
        self.h2 = H2Connection(
            H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.events: list[Any] = []

    async def __aenter__(self) -> "RawCaller":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.send()
        await self.until(lambda: any(isinstance(event, h2.events.SettingsAcknowledged) for event in self.events))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, more: bytes = b"") -> None:
        """What h2 has to say, and these bytes."""
        self.writer.write(self.h2.data_to_send() + more)

    def ask(self, method: str, *messages: bytes, ends: bool = True, headers: Mapping[str, str] = NONE) -> int:
        """Begin a call; returns its stream. `headers` replace the usual ones: `_method` is `:method`."""
        number = self.h2.get_next_available_stream_id()
        told = {name.replace("_", ":"): value for name, value in headers.items()}
        usual = {**dict(grpc_caller.HEADERS), ":path": f"/{SERVICE}/{method}"}
        self.h2.send_headers(number, list({**usual, **told}.items()))
        for message in messages:
            for start in range(0, len(message), DEFAULT_FRAME):
                self.h2.send_data(number, message[start : start + DEFAULT_FRAME])
        if ends:
            self.h2.end_stream(number)
        self.send()
        return number

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Read until it is so. Raises EOFError if the server has closed the connection before."""
        while not is_so():
            if not (data := await self.reader.read(65_536)):
                raise EOFError
            self.events += self.h2.receive_data(data)
            self.send()

    async def end(self, number: int) -> dict[str, str]:
        """The headers that a call ended with."""
        await self.until(lambda: self.ended(number))
        ends = (h2.events.ResponseReceived, h2.events.TrailersReceived)
        heard: list[Any] = [event for event in self.events if isinstance(event, ends)]
        return dict([event.headers for event in heard if event.stream_id == number][-1])

    def ended(self, number: int) -> bool:
        return any(isinstance(event, h2.events.StreamEnded) and event.stream_id == number for event in self.events)

    def data(self, number: int) -> bytes:
        """What a call was sent."""
        of = h2.events.DataReceived
        return b"".join(event.data for event in self.events if isinstance(event, of) and event.stream_id == number)


def value(data: bytes) -> bytes:
    """A message of the service, as it is sent."""
    return grpc_bytes(BytesValue(value=data).SerializeToString())
