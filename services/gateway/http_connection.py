"""A connection of the HTTP server: aiohttp's, but that what aiohttp itself refuses is told in OpenAI's shape."""

import asyncio
from typing import Any, Final, cast

from aiohttp import http_exceptions, web

from services.gateway import http_reply
from services.gateway.held import Held

JSON: Final = "application/json"
THERE_IS: Final = "POST /v1/chat/completions, GET /v1/models, GET /v1/models/<id>, POST /v1/feedback"
LINE_BYTES_MOST: Final = 8190
"""Of the line that a request begins with, and of each of its headers."""


class HttpConnection(web.RequestHandler):
    """Also answers what is no HTTP, or no request that there is."""

    __slots__ = ("_held",)

    def __init__(self, manager: web.Server, held: Held, **options: Any) -> None:
        """`held` is counted at other doors, too; the rest is aiohttp's."""
        super().__init__(manager, **options)
        self._held = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or say that there are too many."""
        super().connection_made(transport)
        self._held.connections += 1
        if too_many := self._held.too_many:
            cast(asyncio.Transport, transport).write(_no_room(too_many))  # uvloop's is one, but says that it is not.
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over."""
        self._held.connections -= 1
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What to answer to what is no HTTP (400), or to a fault of ours. Raises ConnectionError if it has begun."""
        super().handle_error(request, status, exc, message)  # It writes the log.
        if status == 400:
            answer = json_of(http_reply.error(_no_http(exc, message), "invalid_request_error", None), 400)
        else:
            _status, kind, code = http_reply.INTERNAL
            answer = json_of(http_reply.error("the gateway is at fault; its log says why", kind, code), 500)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, also that of a handler which raised one of aiohttp's."""
        answer = of_http(request, resp) if isinstance(resp, web.HTTPException) else resp
        return await super().finish_response(request, answer, start_time)


def json_of(body: dict[str, object], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(body=http_reply.encode(body), status=status, content_type=JSON, headers=headers)


def of_http(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """One of aiohttp's refusals."""
    said, code, kept = error.text or error.reason, None, {}
    match error:
        case web.HTTPRequestEntityTooLarge():
            said, code = f"{said}; the limit is the gateway's MAX_REQUEST_BYTES", "request_too_large"
        case web.HTTPNotFound() | web.HTTPMethodNotAllowed():
            said = f"{request.method} {request.path[:200]} is not known: there is {THERE_IS}"
            code, kept = "unknown_url", {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return json_of(http_reply.error(said, "invalid_request_error", code), error.status, kept)


def _no_room(said: str) -> bytes:
    """A whole answer, to a request that was not read."""
    body = http_reply.encode(http_reply.error(said, "server_error", "unavailable"))
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Retry-After: 1\r\nConnection: close\r\n\r\n".encode() + body


def _no_http(error: BaseException | None, message: str | None) -> str:
    """What is wrong, without what was sent: it may hold a key."""
    if isinstance(error, http_exceptions.LineTooLong):
        return f"the request's first line, or one of its headers, is longer than {LINE_BYTES_MOST} bytes: shorten it"
    reason = (message or "").partition("\n")[0].rstrip(": ")
    return f"the request is no HTTP/1.1: {reason[:200] or 'it can not be read'}"
