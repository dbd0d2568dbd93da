"""The gateway over TLS, as its settings say it."""

from pathlib import Path

import grpc
import pytest
import trustme

from protos import inference_pb2_grpc
from services import client
from services.gateway.server import Server
from services.gateway.settings import GatewaySettings
from services.settings import GatewayAccess, WrongSettings
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request

pytestmark = pytest.mark.contract


async def test_a_caller_who_knows_the_root_is_answered(gateway: Gateway, tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    cert.write_bytes(b"".join(pem.bytes() for pem in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    ca.write_bytes(authority.cert_pem.bytes())
    settings = GatewaySettings(gateway_listen="127.0.0.1:0", gateway_tls_cert=cert, gateway_tls_key=key)
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


def test_a_certificate_without_its_key_is_refused_by_name() -> None:
    with pytest.raises(WrongSettings, match="GATEWAY_TLS_CERT and GATEWAY_TLS_KEY go together"):
        GatewaySettings(gateway_tls_cert=Path("cert.pem"))
