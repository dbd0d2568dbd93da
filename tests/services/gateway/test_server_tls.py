"""The gateway over TLS, as its settings say it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from protos import inference_pb2_grpc
from services import client
from services.gateway import grpc_server, http_server
from services.gateway.http_calls import Calls
from services.gateway.http_server import HttpServer
from services.gateway.server import Server
from services.gateway.settings import GatewaySettings
from services.settings import GatewayAccess, WrongSettings
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request

pytestmark = pytest.mark.contract


@pytest.fixture
def tls(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """Settings by which the gateway speaks TLS, and the root that vouches for it."""
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    cert.write_bytes(b"".join(pem.bytes() for pem in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    ca.write_bytes(authority.cert_pem.bytes())
    listens = {"gateway_listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    return {**listens, "gateway_tls_cert": cert, "gateway_tls_key": key}, ca


async def test_a_caller_who_knows_the_root_is_answered(gateway: Gateway, tls: tuple[dict[str, Any], Path]) -> None:
    options, ca = tls
    settings = GatewaySettings(**options)
    server = Server(settings, gateway.inference_servicer, gateway.feedback_servicer, gateway.door)
    port = await server.start()
    access = GatewayAccess(gateway_address=f"localhost:{port}", gateway_tls_ca=ca)
    async with client.channel(access) as channel:
        reply = await inference_pb2_grpc.InferenceStub(channel).Complete(a_request())
    assert reply.message.content == "the teacher says so"
    async with grpc.aio.insecure_channel(f"localhost:{port}") as plain:
        with pytest.raises(grpc.aio.AioRpcError):
            await inference_pb2_grpc.InferenceStub(plain).Complete(a_request(), timeout=5)
    await server.stop()


async def test_who_does_not_agree_on_tls_in_time_is_cut_off(
    gateway: Gateway, tls: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (grpc_server, http_server):
        monkeypatch.setattr(module, "HANDSHAKE_WITHIN_S", 0.01)
    settings = GatewaySettings(**tls[0])
    by_grpc = Server(settings, gateway.inference_servicer, gateway.feedback_servicer, gateway.door)
    calls = Calls(gateway.exchanges, gateway.reception, gateway.door, gateway.spool)  # type: ignore[arg-type]
    by_http = HttpServer(settings, calls, gateway.door)
    for server in (by_grpc, by_http):
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
        assert await reader.read() == b""
        writer.close()
    await asyncio.gather(by_grpc.stop(), by_http.stop())


def test_a_certificate_without_its_key_is_refused_by_name() -> None:
    with pytest.raises(WrongSettings, match="GATEWAY_TLS_CERT and GATEWAY_TLS_KEY go together"):
        GatewaySettings(gateway_tls_cert=Path("cert.pem"))
