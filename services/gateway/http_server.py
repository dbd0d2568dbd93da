"""The HTTP server on the gateway's own event loop: its paths, its limits, and how it starts and stops.

The gateway's only importer of aiohttp.
"""

import asyncio
from typing import Final

from aiohttp import web, web_response
from aiohttp.typedefs import Handler

from services.gateway import http_reply
from services.gateway.door import Door, Refusal
from services.gateway.http_body import unpacked
from services.gateway.http_calls import Answer, Calls
from services.gateway.http_events import event
from services.gateway.http_log import http_log
from services.gateway.settings import GatewaySettings
from services.gateway.sockets import BACKLOG, listening
from services.tls import context

web_response.SERVER_SOFTWARE = "tutelage"  # type: ignore[attr-defined]
# The header `Server` of every reply, those included that no handler makes: which versions run is nobody's business.
JSON: Final = "application/json"
BODY_WITHIN_S: Final = 30.0
"""How long a body may take to arrive; who is slower holds a connection for nothing."""
READ_WITHIN_S: Final = 30.0
"""How long a caller may leave a piece of a stream unread before he counts as gone."""
LAST_WORDS_S: Final = 2.0
"""For the last answers to go out, once all calls have ended."""
NO_BUFFERING: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""The last is for nginx, which would else hold a stream back."""
THERE_IS: Final = "POST /v1/chat/completions, GET /v1/models, GET /v1/models/<id>, POST /v1/feedback"


class HttpServer:
    """Serves until `stop`. Beyond the door, calls are those of gRPC."""

    def __init__(self, settings: GatewaySettings, calls: Calls, door: Door) -> None:
        self._calls = calls
        self._door = door
        self._listen = settings.http_listen
        self._grace_s = settings.shutdown_grace_s
        self._reuse_port = settings.reuse_port
        self._tls = context(settings.tls, ("http/1.1",)) if settings.tls else None
        app = web.Application(middlewares=[_in_openais_shape], client_max_size=settings.max_request_bytes)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{id:.+}", self._model),
                web.post("/v1/feedback", self._feedback),
                web.get("/healthz", self._alive),
                web.get("/readyz", self._ready),
            ]
        )
        self._runner = web.AppRunner(
            app,
            logger=http_log(),
            auto_decompress=False,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=LAST_WORDS_S,
            keepalive_timeout=settings.http_idle_s,
        )

    async def start(self) -> int:
        """Begin to serve; returns the port. Raises OSError naming the address if it can't be had."""
        await self._runner.setup()
        try:
            bound = listening(self._listen, reuse_port=self._reuse_port)
        except OSError as error:
            raise OSError(f"HTTP_LISTEN={self._listen} can't be bound: is it in use?") from error
        await web.SockSite(self._runner, bound, ssl_context=self._tls, backlog=BACKLOG).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Take no more calls; return when the open ones have ended, by themselves or by the grace's end."""
        for site in list(self._runner.sites):
            await site.stop()
        await self._door.close(self._grace_s)
        await self._runner.cleanup()

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        asked = self._calls.read(await _body(http), http.headers)
        if not asked.streams:
            return _json(await self._calls.complete(asked))
        stream = web.StreamResponse(headers=NO_BUFFERING)
        try:
            await self._calls.stream(asked, stream.headers.update, lambda piece: _send(http, stream, piece))
        except Refusal as refusal:
            if not stream.prepared:
                raise
            _status, body, _headers = http_reply.refusal_of(refusal)
            await _send(http, stream, event(body))
        return stream

    async def _models(self, http: web.Request) -> web.Response:
        return _json(await self._calls.models(_authorization(http)))

    async def _model(self, http: web.Request) -> web.Response:
        return _json(await self._calls.model(http.match_info["id"], _authorization(http)))

    async def _feedback(self, http: web.Request) -> web.Response:
        return _json(await self._calls.feedback(await _body(http), _authorization(http)))

    async def _alive(self, _http: web.Request) -> web.Response:
        """Whether the process answers at all."""
        return _json(Answer({"status": "alive"}))

    async def _ready(self, _http: web.Request) -> web.Response:
        """Whether calls are taken."""
        await self._calls.ready()
        return _json(Answer({"status": "ready"}))


def _authorization(http: web.Request) -> str:
    return http.headers.get("authorization", "")


async def _body(http: web.Request) -> bytes:
    # A web page of anybody's may post other types to loopback unasked; for this one its browser asks first, in vain.
    if http.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"content-type: {http.content_type[:64]!r} is not {JSON}")
    packed = await _packed(http)
    try:
        body = unpacked(packed, http.headers.get("content-encoding", ""), http.client_max_size)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    if len(body) > http.client_max_size:
        raise web.HTTPRequestEntityTooLarge(http.client_max_size)
    return body


async def _packed(http: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await http.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_WITHIN_S:g} s") from error


async def _send(http: web.Request, stream: web.StreamResponse, piece: bytes) -> None:
    """Write a piece, after the head if it is the first. A caller who is gone cancels the call, as he does elsewhere."""
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            if not stream.prepared:
                await stream.prepare(http)
            await stream.write(piece)
    except (ConnectionResetError, TimeoutError) as error:
        raise asyncio.CancelledError from error


def _json(answer: Answer, status: int = 200) -> web.Response:
    body = http_reply.encode(answer.data)
    return web.Response(body=body, status=status, content_type=JSON, headers=answer.headers)


@web.middleware
async def _in_openais_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in OpenAI's shape, those of aiohttp included."""
    try:
        return await handler(request)
    except Refusal as refusal:
        status, body, headers = http_reply.refusal_of(refusal)
        return _json(Answer(body, headers), status)
    except web.HTTPRequestEntityTooLarge as large:
        said = f"{large.text}; the limit is the gateway's MAX_REQUEST_BYTES"
        return _refused(large, said, "request_too_large")
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as unknown:
        return _refused(
            unknown, f"{request.method} {request.path[:200]} is not known: there is {THERE_IS}", "unknown_url"
        )
    except web.HTTPException as refused:
        return _refused(refused, refused.text or refused.reason, None)


def _refused(error: web.HTTPException, said: str, code: str | None) -> web.Response:
    return _json(Answer(http_reply.error(said, "invalid_request_error", code)), error.status)
