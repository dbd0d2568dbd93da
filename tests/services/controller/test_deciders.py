"""Who decided, as it is recorded."""

import asyncio
from pathlib import Path

import grpc
import pytest
import trustme

from protos import control_pb2 as control
from protos import control_pb2_grpc
from services import client
from services.controller.checks import Rejected
from services.controller.deciders import CONTROLLER, decider
from services.settings import ControlAccess
from services.tls import ServerFiles, listen
from tests.services.controller.world import World
from tests.services.test_tls import ca_file, written


def test_without_a_certificate_it_is_what_the_caller_wrote() -> None:
    assert decider(" alice (CFO) ", {}) == "alice (CFO)"
    assert decider("alice", {"transport_security_type": [b"ssl"], "x509_common_name": []}) == "alice"


def test_a_certificates_name_stands_behind_it() -> None:
    assert decider("alice", {"x509_common_name": [b"ops-7"], "x509_subject_alternative_name": [b"x"]}) == (
        "alice (certificate ops-7)"
    )
    assert decider("alice", {"x509_subject_alternative_name": [b"ops-7", b"ops-8"]}) == "alice (certificate ops-7)"
    assert decider("alice", {"x509_common_name": [b"ops\x1b[2J\xff"]}) == "alice (certificate ops?[2J\ufffd)"


@pytest.mark.parametrize(
    "said",
    [
        *(CONTROLLER, " controller", "Controller", "\uff43ontroller"),
        *("alice (certificate ceo)", "alice (Certificate ceo)", "", " ", "ali\x1b[2Jce", "x" * 257),
    ],
)
def test_nobody_calls_himself_what_the_controller_writes(said: str) -> None:
    with pytest.raises(Rejected, match="decided_by: "):
        decider(said, {"x509_common_name": [b"ops-7"]})


@pytest.mark.contract
async def test_over_mtls_the_caller_is_recorded_by_his_certificate(world: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = written(tmp_path, "server", authority.issue_cert("127.0.0.1", "localhost"))
    ca = ca_file(tmp_path, authority)
    mine = written(tmp_path, "mine", authority.issue_cert("ops-7", common_name="ops-7"))
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(world.control, server)
    port = listen(server, "127.0.0.1:0", ServerFiles(chain, key, ca, "CONTROL_TLS"))
    await server.start()
    trusted = {"control_tls_ca": ca, "control_tls_client_cert": mine[0], "control_tls_client_key": mine[1]}
    made = await asyncio.to_thread(a_key_by_alice, ControlAccess(control_address=f"localhost:{port}", **trusted))
    await server.stop(None)
    assert made.key.created_by == "alice (certificate ops-7)"


def a_key_by_alice(access: ControlAccess) -> control.NewKey:
    with client.control(access) as stub:
        return stub.CreateKey(control.CreateKeyRequest(name="shop", decided_by="alice"), timeout=10)
