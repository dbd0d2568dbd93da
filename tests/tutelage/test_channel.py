"""Which connection is made of which files."""

from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tutelage import AsyncClient, Client
from tutelage.channel import Gateway

ADDRESS = "127.0.0.1:1"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(path := tmp_path / "ca.pem"))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    trustme.CA().issue_cert("me.test").private_key_and_cert_chain_pem.write_to_path(str(path := tmp_path / "pair.pem"))
    return path


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    (path := tmp_path / "garbage.pem").write_text("no certificate at all")
    return path


def test_without_files_the_connection_is_plain() -> None:
    assert Gateway(ADDRESS, api_key="k").credentials() is None


def test_a_path_may_be_a_text(ca: Path, pair: Path) -> None:
    assert isinstance(Gateway(ADDRESS, ca=ca).credentials(), grpc.ChannelCredentials)
    assert isinstance(Gateway(ADDRESS, ca=str(ca)).credentials(), grpc.ChannelCredentials)
    assert Gateway(ADDRESS, ca=ca, certificate=str(pair), private_key=pair).credentials()


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_file_that_holds_no_certificate_is_refused_before_any_call(client: Any, garbage: Path) -> None:
    with pytest.raises(ValueError, match=r"ca: .*garbage.pem holds no certificates in PEM"):
        client(ADDRESS, ca=garbage)


def test_a_certificate_and_a_key_that_are_no_pair_are_refused(ca: Path, pair: Path, garbage: Path) -> None:
    for certificate, key in ((garbage, pair), (pair, garbage), (ca, pair)):
        with pytest.raises(ValueError, match="certificate and private_key are no pair"):
            Gateway(ADDRESS, ca=ca, certificate=certificate, private_key=key).credentials()


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"certificate": "a", "private_key": "b"}, "need ca"),
        ({"ca": "a", "certificate": "b"}, "give both, or neither"),
        ({"private_key": "b"}, "give both, or neither"),
        ({"ca": "-----BEGIN CERTIFICATE-----"}, "ca must be the path of a PEM file"),
        ({"ca": b"a"}, "ca must be the path of a PEM file"),
    ],
)
def test_no_client_speaks_plain_that_was_told_of_tls(client: Any, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        client(ADDRESS, api_key="k", **given)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="/nope"):
        Client(ADDRESS, ca="/nope")


def test_a_key_given_as_its_text_is_not_told() -> None:
    with pytest.raises(ValueError, match="private_key must be the path") as refused:
        Client(ADDRESS, ca="a", certificate="b", private_key="-----BEGIN PRIVATE KEY-----\nsecret")
    assert "secret" not in str(refused.value)
