"""Where the gateway can be reached, by what its settings say."""

import resource
import socket
import sys

import pytest

from services.gateway.sockets import connections_most, listening

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


@pytest.mark.parametrize(("files", "most"), [(20_000, 18_800), (1_024, 512), (resource.RLIM_INFINITY, sys.maxsize)])
def test_callers_hold_no_more_connections_than_leave_files_for_the_gateways_own_work(
    files: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (files, files))
    assert connections_most(teacher_calls=1_000) == most
