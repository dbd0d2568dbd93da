"""Where the gateway can be reached, by what its settings say."""

import socket

import pytest

from services.gateway.sockets import listening

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    ("listen", "reached", "unreached"),
    [
        ("127.0.0.1:0", "127.0.0.1", "::1"),
        ("localhost:0", "127.0.0.1", "::1"),
        ("[::1]:0", "::1", "127.0.0.1"),
    ],
)
def test_one_address_is_that_alone(listen: str, reached: str, unreached: str) -> None:
    with listening(listen, reuse_port=False) as server:
        port = server.getsockname()[1]
        socket.create_connection((reached, port)).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((unreached, port))


@pytest.mark.parametrize("listen", ["[::]:0", ":0"])
def test_all_addresses_are_those_of_both_kinds(listen: str) -> None:
    with listening(listen, reuse_port=False) as server:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, server.getsockname()[1])).close()


def test_a_port_is_shared_by_those_who_say_so_alone() -> None:
    with listening("127.0.0.1:0", reuse_port=True) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        listening(address, reuse_port=True).close()
        with pytest.raises(OSError, match="in use"):
            listening(address, reuse_port=False)
