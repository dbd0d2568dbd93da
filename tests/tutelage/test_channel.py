"""Which connection is made of which files."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from tutelage import AsyncClient, Client
from tutelage.channel import Gateway

ADDRESS = "127.0.0.1:1"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    (path := tmp_path / "some.pem").write_text("a certificate, as far as is looked")
    return path


def test_without_files_the_connection_is_plain() -> None:
    assert Gateway(ADDRESS, api_key="k").credentials() is None


def test_a_path_may_be_a_text(pem: Path) -> None:
    for path in (pem, str(pem)):
        assert isinstance(Gateway(ADDRESS, ca=path).credentials(), grpc.ChannelCredentials)
        assert Gateway(ADDRESS, ca=path, certificate=path, private_key=path).credentials()


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
