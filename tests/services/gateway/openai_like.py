"""A small server that speaks OpenAI's chat completions as the test wants it to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-a-secret-that-must-not-be-told"


@dataclass
class OpenAILike:
    """Answers `text` word by word, after `delay_s`; or `status` with `said`, as often as `failures` says.

    It breaks the first `resets` connections before it answers; a stream has the data of `events`, where given. After
    `pieces_then` pieces of a stream, or half of a whole answer, it falls silent or, where it `cuts`, hangs up.
    """

    text: str = "one two three"
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    delay_s: float = 0.0
    pause_s: float = 0.0
    status: int = 200
    said: str = "no"
    failures: int = 1_000
    headers: dict[str, str] = field(default_factory=dict)
    raw: str = ""
    events: list[str] = field(default_factory=list)
    resets: int = 0
    breaks_off: bool = False
    pieces_then: int | None = None
    cuts: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    dropped: int = 0
    url: str = ""

    async def complete(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        self.bodies.append(body)
        self.keys.append(http.headers["Authorization"])
        try:
            await asyncio.sleep(self.delay_s)
            if self.resets:
                self.resets -= 1
                _abort(http)
            if self.status != 200 and self.failures:
                self.failures -= 1
                refusal = {"error": {"message": self.said}}
                return web.json_response(refusal, status=self.status, headers=self.headers)
            if self.raw:
                return web.Response(text=self.raw, content_type="application/json")
            if body.get("stream"):
                return await self._stream(http, body)
            if self.pieces_then is not None:
                return await self._half(http, body)
            return web.json_response(self._whole(body))
        except asyncio.CancelledError:
            self.dropped += 1
            raise

    async def _half(self, http: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        whole = json.dumps(self._whole(body)).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
        await response.prepare(http)
        await response.write(whole[: len(whole) // 2])
        await self._fall_silent(http)
        return response

    async def _fall_silent(self, http: web.Request) -> None:
        if self.cuts:
            await asyncio.sleep(0.02)  # What was said is to be heard: a reset throws away what is under way.
            _abort(http)
        await asyncio.Event().wait()

    def _pieces(self, body: dict[str, Any]) -> tuple[list[str], str]:
        words = [f" {word}" if place else word for place, word in enumerate(self.text.split(" "))]
        most = body["max_tokens"]
        return words[:most], "length" if most < len(words) else self.finish

    def _usage(self, pieces: list[str]) -> dict[str, int]:
        return {"prompt_tokens": 9, "completion_tokens": len(pieces), "total_tokens": 9 + len(pieces)}

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        pieces, finish = self._pieces(body)
        message = {"role": "assistant", "content": "".join(pieces) or None}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {**_head("chat.completion", body["model"]), "choices": [choice], "usage": self._usage(pieces)}

    async def _stream(self, http: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        for data in self.events:
            await response.write(f"data: {data}\n\n".encode())
        if self.events:
            return response
        pieces, finish = self._pieces(body)
        deltas = [{"content": piece} for piece in pieces] + [self._call_delta(call) for call in self._halves()]
        for place, delta in enumerate(deltas):
            if place == self.pieces_then:
                await self._fall_silent(http)
            await self._send(response, choices=[{"index": 0, "delta": delta, "finish_reason": None}])
            await asyncio.sleep(self.pause_s)
        if self.breaks_off:
            _abort(http)
            return response
        await self._send(response, choices=[{"index": 0, "delta": {}, "finish_reason": finish}])
        if body.get("stream_options", {}).get("include_usage"):
            await self._send(response, choices=[], usage=self._usage(pieces))
        await response.write(b"data: [DONE]\n\n")
        return response

    def _halves(self) -> list[tuple[int, dict[str, Any]]]:
        """Each call in two parts, as the API sends its arguments."""
        halves = []
        for place, call in enumerate(self.tool_calls):
            arguments = call["function"]["arguments"]
            first = {**call, "function": {**call["function"], "arguments": arguments[:3]}}
            halves += [(place, first), (place, {"function": {"arguments": arguments[3:]}})]
        return halves

    def _call_delta(self, half: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        return {"tool_calls": [{"index": half[0], **half[1]}]}

    async def _send(self, response: web.StreamResponse, **fields: Any) -> None:
        chunk = {**_head("chat.completion.chunk", self.bodies[-1]["model"]), **fields}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


def _abort(http: web.Request) -> None:
    assert http.transport is not None
    http.transport.abort()


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model}


@asynccontextmanager
async def serving(server: OpenAILike | None = None) -> AsyncIterator[OpenAILike]:
    """A server on a free port of loopback."""
    server, app = server or OpenAILike(), web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
