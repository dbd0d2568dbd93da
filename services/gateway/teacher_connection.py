"""One HTTP/1.1 connection to the teacher's API. The only importer of httptools, whose parser is llhttp, Node's.

A call's deadline is the connection's own timer: nothing else bounds what an API may leave unsaid.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import httptools

from services.gateway.sockets import BACKEND_KEEPALIVE, keep_alive
from services.gateway.teacher_failures import BROKE_OFF, broke_off, no_time, unavailable
from services.gateway.teacher_heard import END_S, Heard

HEAD_MOST: Final = 64 * 1024
"""Bytes of a response's status and headers, and of all else that may come before the next piece of its body."""
FRAMED: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that tell where a body ends; without them the connection's end is its end."""


class WentAway(Exception):  # noqa: N818
    """The connection broke before a word of the answer came."""


class Connection(asyncio.Protocol):
    """Carries one call at a time."""

    def __init__(self, keep: Callable[["Connection"], None], forget: Callable[["Connection"], None]) -> None:
        """`keep` is told when another call may have it, `forget` when it is lost."""
        self._keep = keep
        self._forget = forget
        self._parser = httptools.HttpResponseParser(self)
        self._heard: Heard | None = None
        self._answered: asyncio.Future[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._head: list[tuple[bytes, bytes]] = []
        self._bare_bytes = 0
        self._is_framed = self._is_whole = self._is_lasting = False

    async def ask(self, request: tuple[bytes, bytes], until_s: float, heard: Heard) -> None:
        """Return when `heard` has the whole answer, or enough, to a request's head and body.

        Raises TeacherFailed, WentAway.
        """
        loop = asyncio.get_running_loop()
        self._heard, self._answered = heard, loop.create_future()
        self._bare_bytes, self._is_framed, self._is_whole = 0, False, False
        timer = loop.call_at(until_s, self._fail_late, heard)
        self._transport.writelines(request)
        try:
            await self._answered
        except asyncio.CancelledError:
            if self._heard is heard:  # Else the answer is there, and another call may have the connection.
                self._drop()
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """It is idle."""
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        keep_alive(transport.get_extra_info("socket"), BACKEND_KEEPALIVE)  # Balancers see a long call at work, too.

    def data_received(self, data: bytes) -> None:
        if self._heard is None:
            self._drop()  # Nothing was asked.
            return
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._fail(error.__context__ or error)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail_malformed()
        else:
            self._go_on()

    def _fail_malformed(self) -> None:
        if self._is_whole:  # What comes behind the answer takes nothing from it.
            self._end()
        else:
            self._fail(unavailable("what it says is not HTTP: check TEACHER_BASE_URL"))

    def _go_on(self) -> None:
        if self._is_whole:
            self._end()
        elif self._bare_bytes > HEAD_MOST:
            self._fail(unavailable(f"the headers of its answer are larger than {HEAD_MOST} bytes"))

    def on_message_begin(self) -> None:
        self._is_lasting = self._is_lasting and not self._is_whole  # It says more than was asked.
        self._head = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._heard and not self._heard.status:
            self._head.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._heard and not self._is_whole and status >= 200:
            self._is_framed = any(name in FRAMED for name, _ in self._head)
            self._heard.begin(status, partial(_value, self._head))

    def on_body(self, piece: bytes) -> None:
        heard, self._bare_bytes = self._heard, 0
        if heard and not (heard.is_enough or self._is_whole):
            heard.piece(piece)
            if heard.is_enough:
                self._answer()
                self._ending = asyncio.get_running_loop().call_later(END_S, self._drop)

    def on_message_complete(self) -> None:
        if self._heard and self._heard.status and not self._is_whole:  # Else it said only that it goes on.
            self._is_whole, self._is_lasting = True, self._parser.should_keep_alive()

    def connection_lost(self, error: Exception | None) -> None:
        self._forget(self)
        heard = self._heard
        if heard is None:
            return
        if not heard.status:
            self._fail(WentAway())
        elif error is None and not self._is_framed:
            self._answer()
            self._heard = None
        else:
            self._fail(broke_off(BROKE_OFF))

    def _end(self) -> None:
        self._answer()
        if self._ending is not None:
            self._ending.cancel()
        self._heard = self._ending = None
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # The API did not hear all of the request out.
        elif self._is_lasting:
            self._keep(self)
        else:
            self._transport.close()

    def _answer(self) -> None:
        answered, self._answered = self._answered, None
        if answered and not answered.done():
            answered.set_result(None)

    def _fail(self, error: BaseException) -> None:
        answered, self._answered = self._answered, None  # Its traceback leads back here: it would keep the request.
        if answered and not answered.done():
            answered.set_exception(error)
        self._drop()

    def _fail_late(self, heard: Heard) -> None:
        if self._heard is heard:
            self._fail(no_time())

    def _drop(self) -> None:
        """Hang up, which tells the API that nobody waits."""
        self._heard = None
        self._transport.abort()


def _value(head: list[tuple[bytes, bytes]], name: str) -> str | None:
    wanted = name.encode()
    return next((value.decode("latin-1") for given, value in head if given == wanted), None)
