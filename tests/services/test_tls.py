"""gRPC over TLS with certificates made here: who is let in, what bad files are called, how new ones are taken up."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services import client
from services.gateway.grpc_server import GrpcServer
from services.settings import GatewayAccess
from services.tls import ServerFiles, context, listen, server_files

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(directory: Path, name: str, cert: trustme.LeafCert) -> tuple[Path, Path]:
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in cert.cert_chain_pems))
    key.write_bytes(cert.private_key_pem.bytes())
    return chain, key


def ca_file(directory: Path, ca: trustme.CA, name: str = "ca") -> Path:
    path = directory / f"{name}.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> ServerFiles:
    cert, key = written(tmp_path, "server", authority.issue_cert("127.0.0.1", "localhost"))
    return ServerFiles(cert, key, None, "GATEWAY_TLS")


@asynccontextmanager
async def by_grpcs_server(files: ServerFiles) -> AsyncIterator[int]:
    server, healthy = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = listen(server, "127.0.0.1:0", files)
    await server.start()
    yield port
    await server.stop(None)


@asynccontextmanager
async def by_the_gateways(files: ServerFiles) -> AsyncIterator[int]:
    server = GrpcServer(message_most=1024, streams_most=10)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    yield await server.listen("127.0.0.1:0", context(files, ("h2",)), reuse_port=False)
    server.leave()
    await server.close(1)


Served = Callable[[ServerFiles], AbstractAsyncContextManager[int]]


@pytest.fixture(params=[by_grpcs_server, by_the_gateways])
def served(request: pytest.FixtureRequest) -> Served:
    """A server, on a port."""
    return request.param  # type: ignore[no-any-return]


async def is_served(port: int, **access: Path | bool) -> bool:
    gateway = GatewayAccess(gateway_address=f"localhost:{port}", **access)  # type: ignore[arg-type]
    async with client.channel(gateway) as channel:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            raise
        return True


async def test_who_knows_the_root_is_served_and_nobody_else(
    served: Served, files: ServerFiles, tmp_path: Path, authority: trustme.CA
) -> None:
    async with served(files) as port:
        assert await is_served(port, gateway_tls_ca=ca_file(tmp_path, authority))
        assert not await is_served(port, gateway_tls_ca=ca_file(tmp_path, trustme.CA(), "another"))
        assert not await is_served(port, gateway_tls=True)
        assert not await is_served(port)


async def test_with_mtls_a_caller_needs_a_certificate_of_the_right_root(
    served: Served, files: ServerFiles, tmp_path: Path, authority: trustme.CA
) -> None:
    roots = trustme.CA()
    good = written(tmp_path, "good", roots.issue_cert("caller"))
    bad = written(tmp_path, "bad", trustme.CA().issue_cert("caller"))
    mutual = ServerFiles(files.cert, files.key, ca_file(tmp_path, roots, "callers"), "GATEWAY_TLS")
    ca = ca_file(tmp_path, authority)

    async with served(mutual) as port:
        assert await is_served(port, gateway_tls_ca=ca, gateway_tls_client_cert=good[0], gateway_tls_client_key=good[1])
        assert not await is_served(
            port, gateway_tls_ca=ca, gateway_tls_client_cert=bad[0], gateway_tls_client_key=bad[1]
        )
        assert not await is_served(port, gateway_tls_ca=ca)


def replaced(path: Path, content: bytes) -> None:
    """As certificate managers do it: at once."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


async def test_new_files_are_taken_up_without_a_restart_and_bad_ones_are_not(
    served: Served, files: ServerFiles, tmp_path: Path, authority: trustme.CA
) -> None:
    old, later = ca_file(tmp_path, authority), trustme.CA()
    new, fresh = ca_file(tmp_path, later, "later"), later.issue_cert("localhost")
    async with served(files) as port:
        assert await is_served(port, gateway_tls_ca=old)
        replaced(files.cert, b"".join(pem.bytes() for pem in fresh.cert_chain_pems))  # The key is not there yet.
        assert await is_served(port, gateway_tls_ca=old)
        replaced(files.key, fresh.private_key_pem.bytes())
        assert await is_served(port, gateway_tls_ca=new)
        assert not await is_served(port, gateway_tls_ca=old)
        files.key.unlink()
        assert await is_served(port, gateway_tls_ca=new)


def test_files_that_are_no_good_are_named_by_their_settings(
    files: ServerFiles, tmp_path: Path, authority: trustme.CA
) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.touch()
    _, other = written(tmp_path, "other", authority.issue_cert("localhost"))
    for cert, key, client_ca, said in (
        (absent, files.key, None, f"X_CERT={absent} can't be read: No such file or directory"),
        (files.cert, absent, None, f"X_KEY={absent} can't be read: No such file or directory"),
        (files.cert, other, None, "X_CERT and X_KEY are no pair in PEM without a password: KEY_VALUES_MISMATCH"),
        (empty, files.key, None, "X_CERT and X_KEY are no pair in PEM without a password"),
        (files.cert, files.key, empty, f"X_CLIENT_CA={empty} holds no certificates in PEM"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            context(ServerFiles(cert, key, client_ca, "X"), ("h2",))


def test_one_file_without_the_other_is_refused(tmp_path: Path) -> None:
    assert server_files("X", None, None, None) is None
    for cert, key, client_ca in ((tmp_path, None, None), (None, tmp_path, None), (None, None, tmp_path)):
        with pytest.raises(ValueError, match="X_CERT and X_KEY go together, and X_CLIENT_CA only with them"):
            server_files("X", cert, key, client_ca)
