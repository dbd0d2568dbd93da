"""A server of HTTP/2 that speaks chat completions: in plain text to who knows it, or over TLS by ALPN."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

ANSWER = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
CHUNK = {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}


@dataclass
class Http2Like:
    """Answers once `answers` is set; knows who is connected, and whose call was dropped."""

    answers: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, int]] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    dropped: int = 0
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = json.loads((await receive())["body"])
        self.asked.append(tuple(scope["client"]))
        self.versions.add(scope["http_version"])
        gone, answers = asyncio.create_task(self._gone(receive)), asyncio.create_task(self.answers.wait())
        await asyncio.wait({gone, answers}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.dropped += 1
        else:
            await self._answer(body, send)
        gone.cancel()
        answers.cancel()

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _answer(self, body: dict[str, Any], send: Any) -> None:
        streams = body.get("stream")
        kind = b"text/event-stream" if streams else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        data = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n" if streams else json.dumps(ANSWER)
        await send({"type": "http.response.body", "body": data.encode()})


@asynccontextmanager
async def serving_http2(folder: Path | None = None, *, is_authority: bool = False) -> AsyncIterator[Http2Like]:
    """A server on a free port of loopback; with a `folder` over TLS, its authority's certificate in `ca.pem` there.

    `is_authority`: that one is its own.
    """
    server, config, stop = Http2Like(), Config(), asyncio.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    server.url = f"{'http' if folder is None else 'https'}://localhost:{listening.getsockname()[1]}/v1"
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = config.shutdown_timeout = 0.1
    if folder is not None:
        _certify(folder, config, is_authority=is_authority)
    running = asyncio.create_task(serve(server, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        stop.set()
        await running


def _certify(folder: Path, config: Config, *, is_authority: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("localhost")
    key, shown = certificate.private_key_pem, certificate.cert_chain_pems[0]
    if is_authority:
        key, shown = authority.private_key_pem, authority.cert_pem
    key.write_to_path(folder / "key.pem")
    shown.write_to_path(folder / "cert.pem")
    config.certfile, config.keyfile = str(folder / "cert.pem"), str(folder / "key.pem")
