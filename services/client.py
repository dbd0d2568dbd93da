"""Calling the gateway and the controller over gRPC: what the command line and the demo share."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from protos import control_pb2_grpc as control_grpc
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc as inference_grpc
from services.settings import ControlAccess, ControlTrust, GatewayAccess
from services.tls import Trust

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


Item = TypeVar("Item")


@dataclass(frozen=True)
class Answer:
    """What became of one request: a reply, or the status that took its place ('' where there is a reply)."""

    request: inference.Request
    reply: inference.Reply | None
    status: str = ""


def bearer(gateway: GatewayAccess) -> tuple[tuple[str, str], ...]:
    """The metadata by which the gateway lets a call in; none without an API key."""
    api_key = gateway.gateway_api_key.get_secret_value()
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()


def channel(gateway: GatewayAccess, *options: tuple[str, int]) -> grpc.aio.Channel:
    """A channel to the gateway, for use within one event loop. Raises ValueError naming a TLS file that is no good."""
    address, every = gateway.gateway_address, (*OPTIONS, *options)
    paths = (gateway.gateway_tls_ca, gateway.gateway_tls_client_cert, gateway.gateway_tls_client_key)
    credentials = Trust("GATEWAY_TLS", gateway.gateway_tls, *paths).credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=every)
    return grpc.aio.secure_channel(address, credentials, options=every)


async def answer_all(
    gateway: GatewayAccess,
    requests: Iterable[inference.Request],
    concurrency: int,
    timeout_s: float,
    on_answer: Callable[[Answer], None],
) -> None:
    """Send every request, at most `concurrency` at a time, each with a deadline; tell `on_answer` of each one's end."""
    metadata = bearer(gateway)
    async with channel(gateway) as open_channel:
        call = inference_grpc.InferenceStub(open_channel).Complete

        async def one(request: inference.Request) -> None:
            try:
                on_answer(Answer(request, await call(request, timeout=timeout_s, metadata=metadata)))
            except grpc.aio.AioRpcError as error:
                on_answer(Answer(request, None, f"{error.code().name}: {error.details()}"))

        await _each(requests, concurrency, one)


async def record_all(gateway: GatewayAccess, records: Iterable[events.FeedbackRecord], concurrency: int) -> None:
    """Send feedback; every record's id is the exchange's. Raises grpc.aio.AioRpcError on the first that is refused."""
    metadata = bearer(gateway)
    async with channel(gateway) as open_channel:
        call = control_grpc.FeedbackStub(open_channel).Record

        async def one(record: events.FeedbackRecord) -> None:
            await call(record, timeout=10, metadata=metadata)

        await _each(records, concurrency, one)


@contextmanager
def control(access: ControlAccess) -> Iterator[control_grpc.ControlStub]:
    """A stub of the controller; its errors are grpc.RpcError. Raises ValueError naming a TLS file that is no good."""
    credentials, address = _control_credentials(access), access.control_address
    with (
        grpc.secure_channel(address, credentials, options=OPTIONS)
        if credentials
        else grpc.insecure_channel(address, options=OPTIONS)
    ) as bare:
        said = control_metadata(access)
        yield control_grpc.ControlStub(grpc.intercept_channel(bare, _Token(*said)) if said else bare)


def control_channel(trust: ControlTrust, address: str, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
    """A channel to the controller, for use within one event loop. Raises ValueError as `control` does."""
    credentials = _control_credentials(trust)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def control_metadata(trust: ControlTrust) -> tuple[tuple[str, str], ...]:
    """What goes along with each call of the controller."""
    token = trust.control_token.get_secret_value()
    return (("authorization", f"Bearer {token}"),) if token else ()


def _control_credentials(trust: ControlTrust) -> grpc.ChannelCredentials | None:
    paths = (trust.control_tls_ca, trust.control_tls_client_cert, trust.control_tls_client_key)
    return Trust("CONTROL_TLS", trust.control_tls, *paths).credentials()


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor):  # type: ignore[misc]
    """Says with every call who may be let in. Not gRPC's call credentials: those want TLS, on loopback, too."""

    def __init__(self, said: tuple[str, str]) -> None:
        self._said = said

    def _call(self, go_on: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        return go_on(details._replace(metadata=[*(details.metadata or ()), self._said]), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _call


async def _each(items: Iterable[Item], concurrency: int, work: Callable[[Item], Awaitable[None]]) -> None:
    """Run `work` on each item, lazily, at most `concurrency` at a time."""
    todo = iter(items)

    async def worker() -> None:
        for item in todo:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
