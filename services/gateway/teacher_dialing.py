"""New connections to the teacher's API: its name looked up once for all that wait, its addresses tried side by side."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from services.gateway.teacher_failures import NOT_TRUSTED, UNREACHABLE, no_time, unavailable

CONNECT_S: Final = 5.0
"""A host that takes no connection for this long is down; what is left of the call's time serves another try."""
BESIDE_S: Final = 0.25
"""How long an address is waited for until the next one is tried beside it, as RFC 8305 advises."""
KNOWN_S: Final = 1.0
"""How long a name's addresses are taken as known. The loop looks up two names at a time, a crowd opens a thousand."""
Made = TypeVar("Made", bound=asyncio.Protocol)


class Dialing:
    """Opens connections to one host."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """`host` in ASCII: a name or an address."""
        self._host = host
        self._port = port
        self._tls = tls
        self._known: Sequence[AddrInfoType] = ()
        self._known_until_s = 0.0
        self._looking: asyncio.Task[Sequence[AddrInfoType]] | None = None

    async def connected(self, make: Callable[[], Made], timeout_s: float) -> Made:
        """The protocol that `make` makes, on a connection of its own. Raises TeacherFailed."""
        try:
            async with asyncio.timeout(min(CONNECT_S, timeout_s)):
                return await self._connected(make)
        except TimeoutError as error:
            raise (no_time() if timeout_s <= CONNECT_S else unavailable(UNREACHABLE, passes=True)) from error
        except ssl.SSLCertVerificationError as error:
            raise unavailable(NOT_TRUSTED) from error
        except OSError as error:
            raise unavailable(UNREACHABLE, passes=True) from error

    async def _connected(self, make: Callable[[], Made]) -> Made:
        loop = asyncio.get_running_loop()
        connected = await start_connection(
            await self._addresses(), happy_eyeballs_delay=BESIDE_S, interleave=1, loop=loop
        )
        try:
            name = self._host if self._tls else None
            return (await loop.create_connection(make, sock=connected, ssl=self._tls, server_hostname=name))[1]
        except BaseException:
            connected.close()
            raise

    async def _addresses(self) -> Sequence[AddrInfoType]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._known_until_s:
            return self._known
        if self._looking is None:
            self._looking = loop.create_task(self._look_up())
            self._looking.add_done_callback(self._looked_up)
        return await asyncio.shield(self._looking)  # Whoever gives up leaves it to the others.

    async def _look_up(self) -> Sequence[AddrInfoType]:
        return await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)

    def _looked_up(self, looking: "asyncio.Task[Sequence[AddrInfoType]]") -> None:
        self._looking = None
        if not looking.cancelled() and looking.exception() is None:
            self._known, self._known_until_s = looking.result(), asyncio.get_running_loop().time() + KNOWN_S
