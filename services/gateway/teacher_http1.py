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
from services.gateway.teacher_failures import (
    BROKE_BEFORE,
    NOT_TRUSTED,
    UNREACHABLE,
    no_time,
    unavailable,
)
from services.gateway.teacher_heard import Heard

CONNECT_S: Final = 5.0
"""A host that takes no connection for this long is down; what is left of the call's time serves another try."""
IDLE_S: Final = 60.0
"""How long a connection is kept that no call needs."""
PORTS: Final = {"http": 80, "https": 443}
IN_A_PATH: Final = "/%:@!$&'()*+,;=-._~?"


class Http1:
    """See `teacher_http.Carrier`."""

    def __init__(self, url: str, key: str, ca_file: Path | None) -> None:
        """Raises OSError for a `ca_file` that can't be read."""
        parts = urlsplit(url)
        self._host, self._port = (parts.hostname or "").encode("idna").decode(), parts.port or PORTS[parts.scheme]
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        name = f"[{self._host}]" if ":" in self._host else self._host
        host = f"{name}:{parts.port}" if parts.port else name
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
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        if self._idle:
            connection, _ = self._idle.popitem()
            try:
                await connection.ask(request, until_s, heard)
            except WentAway:
                pass  # It was closed for its idleness as the request went out.
            else:
                return
        connection = await self._connected(until_s - loop.time())
        try:
            await connection.ask(request, until_s, heard)
        except WentAway as error:
            raise unavailable(BROKE_BEFORE, passes=True) from error

    async def _connected(self, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        name = self._host if self._tls else None
        made = loop.create_connection(self._connection, self._host, self._port, ssl=self._tls, server_hostname=name)
        try:
            async with asyncio.timeout(min(CONNECT_S, timeout_s)):
                return (await made)[1]
        except TimeoutError as error:
            raise (no_time() if timeout_s <= CONNECT_S else unavailable(UNREACHABLE, passes=True)) from error
        except ssl.SSLCertVerificationError as error:
            raise unavailable(NOT_TRUSTED) from error
        except OSError as error:
            raise unavailable(UNREACHABLE, passes=True) from error

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
