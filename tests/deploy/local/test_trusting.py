"""A stack whose servers speak TLS: how it asks them, and which settings are refused at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from deploy.local import cli, ready, trusting
from deploy.local.addresses import Addresses
from deploy.local.options import StackOptions
from deploy.local.parts import all_parts
from services.tls import ServerFiles, server_credentials

Settings = dict[str, str]


def written(directory: Path, name: str, ca: trustme.CA, host: str) -> tuple[str, str]:
    cert, made = directory / f"{name}.pem", ca.issue_cert(host)
    made.private_key_and_cert_chain_pem.write_to_path(str(cert))
    return str(cert), str(cert)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def settings(tmp_path: Path, authority: trustme.CA) -> Settings:
    """Of both sides, with certificates of callers."""
    root = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(str(root))
    servers = dict(zip(("CERT", "KEY"), written(tmp_path, "server", authority, "127.0.0.1"), strict=True))
    callers = dict(zip(("CLIENT_CERT", "CLIENT_KEY"), written(tmp_path, "caller", authority, "me.test"), strict=True))
    both = servers | callers | {"CA": str(root), "CLIENT_CA": str(root)}
    return {f"GATEWAY_TLS_{name}": path for name, path in both.items()}


@pytest.fixture
def served(settings: Settings) -> Iterator[int]:
    """The port of a server with them that says it is well."""
    server, healthy = grpc.server(ThreadPoolExecutor(1)), health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    cert, key, roots = (Path(settings[f"GATEWAY_TLS_{name}"]) for name in ("CERT", "KEY", "CLIENT_CA"))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(ServerFiles(cert, key, roots, "GATEWAY_TLS")))
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    server.start()
    yield port
    server.stop(None).wait()


@pytest.fixture
def _in_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in settings.items():
        monkeypatch.setenv(name, path)


@pytest.mark.contract
@pytest.mark.usefixtures("_in_the_environment")
def test_the_gateway_is_asked_over_tls_whether_it_is_ready(tmp_path: Path, served: int) -> None:
    options = StackOptions(tmp_path, ports={"gateway": served})
    (gateway,) = (one for one in all_parts(options, Addresses.choose(options.ports), tmp_path) if one.name == "gateway")
    assert gateway.ready()
    assert not ready.serves_grpc(f"127.0.0.1:{served}")


def test_without_a_certificate_of_its_own_no_server_is_asked_over_tls() -> None:
    assert trusting.credentials("gateway", {"GATEWAY_TLS_CA": "/of/another/gateway.pem"}) is None
    assert trusting.credentials("controller", {}) is None


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        (("KEY",), "GATEWAY_TLS_CERT and GATEWAY_TLS_KEY go together"),
        (("CA",), "GATEWAY_TLS_CERT is set, but not how callers on this machine know it: set GATEWAY_TLS_CA"),
        (("CLIENT_CERT", "CLIENT_KEY"), "set GATEWAY_TLS_CLIENT_CERT and GATEWAY_TLS_CLIENT_KEY"),
        (("CLIENT_KEY",), "GATEWAY_TLS_CLIENT_CERT and GATEWAY_TLS_CLIENT_KEY go together"),
    ],
)
def test_a_setting_that_is_missing_is_named(settings: Settings, lacks: tuple[str, ...], told: str) -> None:
    for name in lacks:
        del settings[f"GATEWAY_TLS_{name}"]
    with pytest.raises(ValueError, match=told):
        trusting.credentials("gateway", settings)


def test_a_root_that_is_not_named_must_be_one_that_everybody_knows(settings: Settings) -> None:
    del settings["GATEWAY_TLS_CA"]
    with pytest.raises(ValueError, match=r"is not what a caller of 127\.0\.0\.1 trusts by GATEWAY_TLS_CA"):
        trusting.credentials("gateway", settings | {"GATEWAY_TLS": "true"})


def test_a_certificate_of_another_address_is_refused(settings: Settings, tmp_path: Path, authority: trustme.CA) -> None:
    elsewhere = written(tmp_path, "elsewhere", authority, "gateway.example")
    settings |= dict(zip(("GATEWAY_TLS_CERT", "GATEWAY_TLS_KEY"), elsewhere, strict=True))
    with pytest.raises(ValueError, match=r"GATEWAY_TLS_CERT=.*elsewhere.pem is not what .*not valid for '127.0.0.1'"):
        trusting.credentials("gateway", settings)


def test_a_caller_whom_the_gateway_would_not_let_in_is_refused(settings: Settings, tmp_path: Path) -> None:
    strange = written(tmp_path, "strange", trustme.CA(), "me.test")
    settings |= dict(zip(("GATEWAY_TLS_CLIENT_CERT", "GATEWAY_TLS_CLIENT_KEY"), strange, strict=True))
    with pytest.raises(ValueError, match=r"GATEWAY_TLS_CLIENT_CERT=.*strange.pem is not what GATEWAY_TLS_CLIENT_CA="):
        trusting.credentials("gateway", settings)


def test_a_file_that_is_no_certificate_is_named(settings: Settings, tmp_path: Path) -> None:
    (garbage := tmp_path / "garbage.pem").write_text("garbage")
    for name in ("CERT", "CA", "CLIENT_CERT", "CLIENT_CA"):
        with pytest.raises(ValueError, match=f"GATEWAY_TLS_{name}"):
            trusting.credentials("gateway", settings | {f"GATEWAY_TLS_{name}": str(garbage)})


@pytest.mark.contract
@pytest.mark.usefixtures("_in_the_environment")
def test_up_starts_nothing_that_nobody_could_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GATEWAY_TLS_CA")
    assert cli.run(StackOptions(tmp_path / "state")) == 2
    assert "set GATEWAY_TLS_CA" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


@pytest.mark.contract
@pytest.mark.usefixtures("_in_the_environment")
def test_where_the_gateway_speaks_tls_its_http_does(tmp_path: Path) -> None:
    told = cli.where(Addresses.choose({"gateway_http": 29_871}), StackOptions(tmp_path))
    assert any("https://127.0.0.1:29871/v1" in line for line in told)
