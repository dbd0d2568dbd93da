"""The socket that a door of the gateway listens on, and how one tells that its peer has vanished."""

import resource
import socket
import sys
from collections.abc import Iterable
from typing import Final

BACKLOG: Final = 4096
"""Connections that may wait to be taken: as many as the kernel lets."""
ALL: Final = frozenset({"", "::"})
"""Hosts that mean every address of the machine."""
BACKEND_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""For `keep_alive`, in seconds: a backend whose host vanished without a word is found out in 45."""

HANDSHAKE_WITHIN_S: Final = 10.0
"""How long a caller may take to agree on TLS: until then his connection is an open file that nobody counts."""
FILES_KEPT: Final = 200
"""Open files that callers are not let have: the spool's, Kafka's, the students'."""


def connections_most(teacher_calls: int) -> int:
    """How many callers may hold, of the files that the process may open: what backends and disk leave, or half."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(files // 2, files - teacher_calls - FILES_KEPT)


def listening(address: str, *, reuse_port: bool) -> socket.socket:
    """Bound to host:port, which several processes may be with `reuse_port`. `[::]` is IPv4's addresses, too.

    Raises OSError.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    both = host in ALL and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    return socket.create_server(
        ("::" if both else host, int(port)),
        family=family,
        backlog=BACKLOG,
        reuse_port=reuse_port,
        dualstack_ipv6=both,
    )


def keep_alive(connected: socket.socket | None, options: Iterable[tuple[int, int]]) -> None:
    """Have TCP find out about a peer that vanished without a word. `options`: those of TCP, with their values."""
    if connected and connected.family in {socket.AF_INET, socket.AF_INET6}:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
