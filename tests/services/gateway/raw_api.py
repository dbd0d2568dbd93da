"""An API that says exactly the bytes that a test wants, over connections that it counts."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trustme


@dataclass
class Line:
    """One connection, as the API has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes]

    async def asked(self) -> bytes:
        """The next request, head and body. Raises IncompleteReadError where none comes any more."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", head)
        assert size is not None
        request = head + await self.reader.readexactly(int(size[1]))
        self.requests.append(request)
        return request

    def say(self, *words: bytes) -> None:
        self.writer.write(b"".join(words))

    async def hung_up(self) -> None:
        """Return when the caller has ended it."""
        with suppress(ConnectionError):
            await self.reader.read()

    def reset(self) -> None:
        self.writer.transport.abort()


Talk = Callable[[Line], Awaitable[None]]


@dataclass
class RawApi:
    """Who is connected, and what was asked on every connection together."""

    url: str
    lines: list[Line] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)


def answering(*answers: bytes) -> Talk:
    """Says to each request of a connection what is next, the last one for ever."""

    async def talk(line: Line) -> None:
        for answer in answers[:-1]:
            await line.asked()
            line.say(answer)
        while True:
            await line.asked()
            line.say(answers[-1])

    return talk


def noted(talk: Talk) -> tuple[Talk, asyncio.Event]:
    """The same, and what tells that it has ended."""
    ended = asyncio.Event()

    async def noting(line: Line) -> None:
        await talk(line)
        ended.set()

    return noting, ended


@asynccontextmanager
async def serving_raw(
    talk: Talk, host: str = "127.0.0.1", certified: trustme.CA | None = None
) -> AsyncIterator[RawApi]:
    """On a free port of loopback; its connections end with what `talk` has to say, or with the server."""
    api, talks = RawApi(""), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, api.requests)
        api.lines.append(line)
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await talk(line)
        writer.close()

    tls = None
    if certified is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certified.issue_cert("localhost").configure_cert(tls)
    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    name = "localhost" if tls else f"[{host}]" if ":" in host else host
    api.url = f"{'https' if tls else 'http'}://{name}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield api
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        for line in api.lines:
            line.reset()
            with suppress(ConnectionError, ssl.SSLError):
                await line.writer.wait_closed()
