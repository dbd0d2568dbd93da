"""The HTTP server on the gateway's own event loop: its paths, its limits, and how it starts and stops.

With `http_connection` the gateway's only importer of aiohttp.
"""

import asyncio
from typing import Final, cast

from aiohttp import web, web_response
from aiohttp.typedefs import Handler

from services.gateway import http_reply
from services.gateway.door import Door, Refusal, refused
from services.gateway.held import REQUEST_WITHIN_S, TooMuchHeld
from services.gateway.http_body import unpacked
from services.gateway.http_calls import CHAT, FEEDBACK, Answer, Calls
from services.gateway.http_connection import JSON, LINE_BYTES_MOST, HttpConnection, json_of
from services.gateway.http_events import event
from services.gateway.http_log import http_log
from services.gateway.settings import GatewaySettings
from services.gateway.sockets import BACKLOG, HANDSHAKE_WITHIN_S, listening
from services.tls import context

web_response.SERVER_SOFTWARE = "tutelage"  # type: ignore[attr-defined]
# The header `Server` of every reply, those included that no handler makes: which versions run is nobody's business.
READ_WITHIN_S: Final = 30.0
"""How long a caller may leave a piece of a stream unread before he counts as gone."""
LAST_WORDS_S: Final = 2.0
"""For the last answers to go out, once all calls have ended."""
NO_BUFFERING: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""The last is for nginx, which would else hold a stream back."""


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
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LAST_WORDS_S)
        self._log = http_log()
        self._idle_s = settings.http_idle_s
        self._listening: asyncio.Server | None = None

    async def start(self) -> int:
        """Begin to serve; returns the port. Raises OSError naming the address if it can't be had."""
        await self._runner.setup()
        try:
            bound = listening(self._listen, reuse_port=self._reuse_port)
        except OSError as error:
            raise OSError(f"HTTP_LISTEN={self._listen} can't be bound: is it in use?") from error
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            self._connection,
            sock=bound,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_WITHIN_S if self._tls else None,
            backlog=BACKLOG,
        )
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more calls; return when the open ones have ended, by themselves or by the grace's end."""
        if self._listening:
            self._listening.close()
        await self._door.close(self._grace_s)
        await self._runner.cleanup()

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            cast(web.Server, self._runner.server),
            self._door.held,
            loop=asyncio.get_running_loop(),
            logger=self._log,
            auto_decompress=False,
            access_log=None,
            keepalive_timeout=self._idle_s,
            max_line_size=LINE_BYTES_MOST,
            max_field_size=LINE_BYTES_MOST,
        )

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        asked = self._calls.read(await self._body(http, CHAT), http.headers)
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

    async def _body(self, http: web.Request, method: str) -> bytes:
        # Anybody's web page may post other types to loopback unasked; for this one its browser asks first, in vain.
        if http.content_type != JSON:
            raise web.HTTPUnsupportedMediaType(text=f"content-type: {http.content_type[:64]!r} is not {JSON}")
        packed = await (http.read() if http.content.is_eof() else self._still_to_come(http, method))
        try:
            body = unpacked(packed, http.headers.get("content-encoding", ""), http.client_max_size)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if len(body) > http.client_max_size:
            raise web.HTTPRequestEntityTooLarge(http.client_max_size)
        return body

    async def _still_to_come(self, http: web.Request, method: str) -> bytes:
        """A body that did not come with its head: not waited for from a stranger, nor held where too much is."""
        self._calls.know(method, _authorization(http))
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                return await self._collected(http, method)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text=f"the body did not arrive within {REQUEST_WITHIN_S:g} s") from error

    async def _collected(self, http: web.Request, method: str) -> bytes:
        body, held, most = bytearray(), self._door.held, http.client_max_size
        try:
            if (told := http.content_length or 0) > most:
                raise web.HTTPRequestEntityTooLarge(most, told)
            while piece := await http.content.readany():
                body += piece
                held.bytes += len(piece)
                if len(body) > most:
                    raise web.HTTPRequestEntityTooLarge(most, len(body))
                if held.too_much:
                    raise refused(method, TooMuchHeld(held.too_much))
            return bytes(body)
        finally:
            held.bytes -= len(body)

    async def _models(self, http: web.Request) -> web.Response:
        return _json(await self._calls.models(_authorization(http)))

    async def _model(self, http: web.Request) -> web.Response:
        return _json(await self._calls.model(http.match_info["id"], _authorization(http)))

    async def _feedback(self, http: web.Request) -> web.Response:
        return _json(await self._calls.feedback(await self._body(http, FEEDBACK), _authorization(http)))

    async def _alive(self, _http: web.Request) -> web.Response:
        """Whether the process answers at all."""
        return _json(Answer({"status": "alive"}))

    async def _ready(self, _http: web.Request) -> web.Response:
        """Whether calls are taken."""
        await self._calls.ready()
        return _json(Answer({"status": "ready"}))


def _authorization(http: web.Request) -> str:
    return http.headers.get("authorization", "")


async def _send(http: web.Request, stream: web.StreamResponse, piece: bytes) -> None:
    """Write a piece, after the head if it is the first. A caller who is gone cancels the call, as he does elsewhere."""
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            if not stream.prepared:
                await stream.prepare(http)
            await stream.write(piece)
    except (ConnectionResetError, TimeoutError) as error:
        raise asyncio.CancelledError from error


def _json(answer: Answer) -> web.Response:
    return json_of(answer.data, headers=answer.headers)


@web.middleware
async def _in_openais_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals in OpenAI's shape; those of aiohttp are put into it by `HttpConnection`."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _refused(refusal)
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text="the body is not as the request's headers say") from error


def _refused(refusal: Refusal) -> web.Response:
    status, body, headers = http_reply.refusal_of(refusal)
    return json_of(body, status, headers)
