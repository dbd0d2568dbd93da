"""The backend that benchmarks.gateway's contestants stand before: chat completions with one answer and a fixed latency.

`python -m benchmarks.gateway_backend PORT`. HTTP/1.1, whole or as a stream of server-sent events; of a request nothing
is read but where it ends and whether it wants a stream, so that it is nobody's bottleneck. The latency is 0 until
`GET /latency/MILLISECONDS` says otherwise.
"""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence
from typing import Final, cast

import uvloop

from benchmarks.gateway_request import ANSWER, PIECES

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STREAM: Final = re.compile(rb'"stream": ?true')
LATENCY: Final = re.compile(rb"GET /latency/([\d.]+) ")
BACKLOG: Final = 8_192  # connections that come at once
USAGE: Final = {"prompt_tokens": 140, "completion_tokens": 40, "total_tokens": 180}
ABOUT: Final = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4"}


def whole() -> bytes:
    """The HTTP response of an answer in one piece."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    body = json.dumps({**ABOUT, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def streamed() -> list[bytes]:
    """The HTTP response of a streamed answer: the head, an event for each piece, and the last words."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in PIECES)]
    said = [_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    said.append(_chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    said.append(_chunk([], usage=USAGE))
    return [head, *said, _event("[DONE]"), _part(b"")]


def _chunk(choices: Sequence[object], **more: object) -> bytes:
    return _event(json.dumps({**ABOUT, "object": "chat.completion.chunk", "choices": choices, **more}))


def _event(data: str) -> bytes:
    return _part(b"data: %b\n\n" % data.encode())


def _part(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Backend:
    """What all connections share."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.whole = [whole()]
        self.streamed = streamed()

    def connection(self) -> "Connection":
        """One more."""
        return Connection(self)


class Connection(asyncio.Protocol):
    """One connection; its requests may come in any pieces, one after another."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (end := self._heard.find(HEAD_END)) >= 0:
            length = LENGTH.search(self._heard, 0, end)
            size = end + len(HEAD_END) + (int(length[1]) if length else 0)
            if len(self._heard) < size:
                return
            asked, self._heard = self._heard[:size], self._heard[size:]
            self._answer(asked)

    def _answer(self, asked: bytes) -> None:
        if set_to := LATENCY.match(asked):
            self._backend.latency_s = float(set_to[1]) / 1e3
        parts = self._backend.streamed if STREAM.search(asked) else self._backend.whole
        if self._backend.latency_s and not set_to:
            asyncio.get_running_loop().call_later(self._backend.latency_s, self._write, parts)
        else:
            self._write(parts)

    def _write(self, parts: Sequence[bytes]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(parts)


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await loop.create_server(Backend().connection, "127.0.0.1", port, backlog=BACKLOG)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
