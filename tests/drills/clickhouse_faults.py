"""A front before ClickHouse that makes it slow, read-only or short of memory, or lets its answers get lost.

Where it can, it lets the engine itself refuse: a setting goes with the statement, and the engine's own error returns.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

READ_ONLY: Final = {"readonly": "1"}
SHORT_OF_MEMORY: Final = {"max_memory_usage": "1000", "max_untracked_memory": "1"}
MAX_BYTES: Final = 2**28
INSERT: Final = re.compile(rb"insert\s+into\s+\S*exchanges", re.IGNORECASE)
"""What the faults are for; the schema and all reading pass through."""


@dataclass
class ClickHouseFaults:
    """`url` is where the sink goes. The fields say what becomes of the exchanges inserted next."""

    upstream: str
    url: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    loses_answers: bool = False
    inserting: int = 0
    """Inserts under way now."""
    held: int = 0
    """Those of them that wait out a delay: the engine has not seen them yet."""
    refused: int = 0
    lost_answers: int = 0

    async def pass_on(self, http: web.Request) -> web.StreamResponse:
        query, body = dict(http.query), await http.read()
        if not INSERT.search(query.get("query", "").encode() + body[:200]):
            return await self._ask(http, query, body)
        self.inserting += 1
        try:
            await self._hold(self.delay_s)
            answer = await self._ask(http, query | self.settings, body)
            self.refused += answer.status != HTTPStatus.OK
            return self._lose(http) if self.loses_answers else answer
        finally:
            self.inserting -= 1

    async def _hold(self, delay_s: float) -> None:
        if delay_s:
            self.held += 1
            try:
                await asyncio.sleep(delay_s)
            finally:
                self.held -= 1

    async def _ask(self, http: web.Request, query: Mapping[str, str], body: bytes) -> web.Response:
        headers = {name: value for name, value in http.headers.items() if name in {"Content-Type", "Content-Encoding"}}
        url = URL(self.upstream).with_path(http.path).with_query(query)
        try:
            async with http.app[SESSION].request(http.method, url, data=BytesIO(body), headers=headers) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.startswith("X-ClickHouse")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"no ClickHouse behind the front: {error}")

    def _lose(self, http: web.Request) -> web.StreamResponse:
        """The rows are in, and he who sent them never hears it."""
        self.lost_answers += 1
        assert http.transport is not None
        http.transport.abort()
        return web.Response()


SESSION: Final = web.AppKey("session", aiohttp.ClientSession)


@asynccontextmanager
async def clickhouse_faults(upstream: str) -> AsyncIterator[ClickHouseFaults]:
    """A front without faults as yet, on a free port of loopback. A client that hangs up is not waited for."""
    faults, app = ClickHouseFaults(upstream), web.Application(client_max_size=MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", faults.pass_on)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    async with aiohttp.ClientSession(auto_decompress=True) as app[SESSION]:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        faults.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield faults
        finally:
            await runner.cleanup()
