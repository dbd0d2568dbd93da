"""A TCP relay on loopback that can cut what goes through it, with a reset, as a network or a killed process does."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Relay:
    """Passes bytes on to `target`; with `resets` it cuts a connection as soon as something comes on it."""

    target: tuple[str, int]
    resets: bool = False
    port: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self.resets:
            await reader.read(1)
            self.cut()
            return
        with suppress(OSError):
            upstream, onward = await asyncio.open_connection(*self.target)
            self._writers.add(onward)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, onward))
                pumps.create_task(_pump(upstream, writer))

    def cut(self) -> None:
        """End all connections, at once and without a goodbye."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if not writer.transport.is_closing():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                writer.transport.abort()
        self._writers.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relaying(host: str, port: int) -> AsyncIterator[Relay]:
    """A relay on a free port of loopback."""
    relay = Relay((host, port))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        await server.wait_closed()
