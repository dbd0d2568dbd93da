"""Who may call the controller, and where it may listen without asking."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from services import client
from services.controller.entry import Token
from services.controller.settings import Settings
from services.gateway.watch import Watch
from services.settings import ControlAccess, ControlTrust, WrongSettings
from tests.services.controller.world import World

pytestmark = pytest.mark.contract


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[Token("a long one")])
    control_pb2_grpc.add_ControlServicer_to_server(world.control, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def status(address: str, *said: str) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(address) as channel:
        metadata = [("authorization", one) for one in said]
        try:
            await control_pb2_grpc.ControlStub(channel).Keys(control.KeysRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


async def test_a_call_needs_the_token(address: str) -> None:
    assert await status(address, "Bearer a long one") == grpc.StatusCode.OK
    for wrong in ((), ("Bearer another",), ("a long one",), ("Bearer a long one two",)):
        assert await status(address, *wrong) == grpc.StatusCode.UNAUTHENTICATED


async def test_streams_need_it_too(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = control_pb2_grpc.ControlStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ImportSnapshot(iter([control.SnapshotPart(task="labels")]))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in stub.ExportSnapshot(control.ExportSnapshotRequest(task="labels")):
                pass
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_health_needs_none(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_command_line_says_the_token(address: str) -> None:
    def keys(token: str) -> Any:
        with client.control(ControlAccess(control_address=address, control_token=token)) as stub:  # type: ignore[arg-type]
            return stub.Keys(control.KeysRequest(), timeout=10)

    assert (await asyncio.to_thread(keys, "a long one")).keys == []
    with pytest.raises(grpc.RpcError):
        await asyncio.to_thread(keys, "another")


def test_beyond_loopback_it_wants_a_token_or_certificates_of_callers() -> None:
    with pytest.raises(WrongSettings, match="set CONTROL_TOKEN to a long random text, or CONTROL_TLS_CLIENT_CA"):
        Settings(control_listen="0.0.0.0:50052")
    assert Settings(control_listen="127.0.0.1:50052").tls is None
    assert Settings(control_listen="0.0.0.0:50052", control_token="long").control_token


async def test_a_gateway_that_watches_says_the_token_too(address: str, world: World) -> None:
    told: asyncio.Queue[events.Promotion] = asyncio.Queue()
    watch = Watch(address, told.put_nowait, ControlTrust(control_token="a long one"))  # type: ignore[arg-type]
    watch.start()
    world.state.foresee(events.Promotion(id="p", task="labels", policy=events.Policy(kind=1)))
    async with asyncio.timeout(30):
        while (await told.get()).id != "p":
            pass
    await watch.close()
