"""The way to the teacher's API over HTTP/1.1: a connection for each call, kept for the next one.

It runs on the gateway's own event loop: a call handed to a thread and back, as `teacher_http2` does, costs a fifth of
what the whole call does (`benchmarks/README.md`).
"""

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from services.gateway.teacher_connection import Connection, WentAway
from services.gateway.teacher_dialing import Dialing
from services.gateway.teacher_failures import BROKE_BEFORE, no_time, unavailable
from services.gateway.teacher_heard import Heard

RACE_S: Final = 1.0
"""A kept connection that breaks so soon, without a word, was closed for its idleness as the request went out: it goes
out once more, and counts as no other try. Later, the API may have been at work on it."""
IDLE_S: Final = 60.0
"""How long a connection is kept that no call needs."""
PORTS: Final = {"http": 80, "https": 443}
IN_A_PATH: Final = "/%:@!$&'()*+,;=-._~?"


class Http1:
    """See `teacher_http.Carrier`."""

    def __init__(self, url: str, key: str, ca_file: Path | None) -> None:
        """Raises OSError for a `ca_file` that can't be read."""
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna").decode()
        tls = _tls(ca_file) if parts.scheme == "https" else None
        self._dialing = Dialing(name, parts.port or PORTS[parts.scheme], tls)
        bracketed = f"[{name}]" if ":" in name else name
        host = f"{bracketed}:{parts.port}" if parts.port else bracketed
        path = quote(parts.path + (f"?{parts.query}" if parts.query else ""), safe=IN_A_PATH)
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: tutelage\r\nauthorization: Bearer {key}\r\n"
            "accept: */*\r\ncontent-type: application/json\r\ncontent-length: "
        ).encode()
        self._idle: dict[Connection, float] = {}
        """Since when, the longest first."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, body: bytes, timeout_s: float, heard: Heard) -> None:
        if timeout_s <= 0:
            raise no_time()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        until_s = began_s + timeout_s
        request = (b"%b%d\r\n\r\n" % (self._head, len(body)), body)
        if self._idle:
            connection, _ = self._idle.popitem()
            try:
                await connection.ask(request, until_s, heard)
            except WentAway as error:
                if loop.time() - began_s > RACE_S:
                    raise unavailable(BROKE_BEFORE, passes=True) from error
            else:
                return
        connection = await self._dialing.connected(self._connection, until_s - loop.time())
        try:
            await connection.ask(request, until_s, heard)
        except WentAway as error:
            raise unavailable(BROKE_BEFORE, passes=True) from error

    def _connection(self) -> Connection:
        return Connection(self._keep, self._forget)

    def _keep(self, connection: Connection) -> None:
        if self._is_closed:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def _sweep(self) -> None:
        """Close those that have been idle for too long."""
        loop, self._sweeping = asyncio.get_running_loop(), None
        now_s = loop.time()
        for connection in [one for one, since_s in self._idle.items() if now_s - since_s >= IDLE_S]:
            del self._idle[connection]
            connection.close()
        if self._idle:
            oldest_s = next(iter(self._idle.values()))
            self._sweeping = loop.call_later(oldest_s + IDLE_S - now_s, self._sweep)

    def close(self) -> None:
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._idle:
            self._idle.popitem()[0].close()


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
