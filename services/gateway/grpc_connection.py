"""The server's side of an HTTP/2 connection that carries gRPC calls. Pure: bytes in, calls out, and back.

Written for what every call pays: `grpc.aio`'s server takes 380 us of processor time for a call, `h2` 330, this 70
(`benchmarks/README.md`). It knows what RFC 9113 and gRPC's description of itself over HTTP/2 say of a server; headers
are `hpack`'s. Whoever breaks the protocol loses his connection, with the reason in its GOAWAY.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from grpc import StatusCode
from hpack import HPACKError

from services.gateway import frames
from services.gateway.frames import DEFAULT_FRAME, DEFAULT_WINDOW, END_HEADERS, END_STREAM, WINDOW_MOST
from services.gateway.grpc_head import BEGIN, HEAD_MOST, WELL, Head, Heads
from services.gateway.grpc_messages import Messages, Unreadable, framed

CONNECTION_WINDOW: Final = 2**30
"""What callers may send ahead on all streams of a connection: what is held of it has limits of its own."""
HELD_MOST: Final = 64 * 1024**2
"""Bytes that a connection's messages may have which are not whole, or which no call has taken."""
TOO_MUCH: Final = f"more than {HELD_MOST} bytes wait on this connection: wait for an answer before you send more"
WAITING_MOST: Final = 256 * 1024**2
"""Bytes of answers that may wait for a connection's windows: who asks on and never opens them is cut off."""
IDLE_FRAMES_MOST: Final = 10_000
"""Frames that ask for nothing, since the last call began."""
BLOCK_FRAMES_MOST: Final = 32
"""CONTINUATION frames of one block of headers."""
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 0, 1, 3, 6, 7, 9, 11
NO_TABLE: Final = b"\x20"
"""RFC 7541, 6.3: the table of headers is empty from here on."""


class Broken(Exception):  # noqa: N818 - it says what the peer did
    """The peer broke the protocol: the connection ends with this HTTP/2 code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Calls(Protocol):
    """Who answers the calls."""

    def begin(self, stream: "Stream") -> None:
        """A call has begun; its messages follow."""

    def message(self, stream: "Stream", message: bytes) -> None:
        """One of them."""

    def half_closed(self, stream: "Stream") -> None:
        """There are no more of them."""

    def gone(self, stream: "Stream") -> None:
        """The caller went away: nothing that is sent to him arrives."""

    def unreadable(self, stream: "Stream", error: Unreadable) -> None:
        """What came is no message."""

    def sent(self, stream: "Stream") -> None:
        """Something of what waited for the caller's windows has gone out."""

    def overfull(self) -> None:
        """More waits for them than is kept."""


class Stream:
    """One call's stream."""

    __slots__ = (
        "call", "finished", "gone", "half_closed", "has_begun", "head", "id", "messages", "unread", "unsent", "untaken",
        "window",
    )  # fmt: skip

    def __init__(self, number: int, head: Head, window: int, message_most: int) -> None:
        self.id = number
        self.head = head
        self.messages = Messages(head.encoding, message_most)
        self.window = window
        self.untaken = 0
        """Bytes of whole messages, with their prefixes, that its call has not taken."""
        self.unread = 0
        """Bytes that came, of which the caller has not been told that he may send as many more."""
        self.unsent: bytearray | None = None
        """Bytes that wait for the caller's windows."""
        self.has_begun = self.half_closed = False
        self.gone = False
        """Whether it has ended, or its caller has: nothing more is sent."""
        self.finished: bytes | None = None
        """The end's headers, once there is nothing more to send before them."""
        self.call: Any = None
        """The call, for who answers it."""


class Connection:
    """What is sent is written at once as far as the caller's windows allow, and the rest as they open."""

    def __init__(self, write: Callable[[bytes], object], calls: Calls, *, message_most: int, streams_most: int) -> None:
        """`write` takes bytes for the peer. `message_most` in bytes; more calls than `streams_most` are refused."""
        self._write = write
        self._calls = calls
        self._message_most = message_most
        self._streams_most = streams_most
        self._rest = b""
        self._is_greeted = False
        self._heads = Heads()
        self._block: tuple[int, int, bytearray, int] | None = None  # stream, flags, headers so far, frames
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._unread = self._held = self._unsent = self._idle_frames = 0
        self._window = self._initial_window = DEFAULT_WINDOW
        self._frame_most = DEFAULT_FRAME
        self._emptied = b""  # before a block of headers: that it leaves no table, to peers who keep a smaller one
        self._waiting: dict[int, Stream] = {}  # for the connection: its window, or that it is no longer full
        self._is_full = False
        self._write(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: streams_most,
                    frames.INITIAL_WINDOW_SIZE: min(message_most + DEFAULT_WINDOW, WINDOW_MOST),
                    frames.MAX_HEADER_LIST_SIZE: HEAD_MOST,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        )

    @property
    def streams(self) -> list[Stream]:
        """Those whose calls are open."""
        return list(self._streams.values())

    @property
    def is_greeted(self) -> bool:
        """Whether the peer has said that it speaks HTTP/2."""
        return self._is_greeted

    def receive(self, data: bytes) -> None:
        """Take what came. Raises Broken; the connection is of no use then but for `leave`."""
        data = self._rest + data if self._rest else data
        at = 0
        if not self._is_greeted and not (at := self._greeting(data)):
            self._rest = data
            return
        while len(data) - at >= 9:
            upper, lower, kind, flags, stream = frames.HEAD.unpack_from(data, at)
            length = upper << 8 | lower
            if length > DEFAULT_FRAME:
                raise Broken(FRAME_SIZE, f"a frame of {length} bytes, of at most {DEFAULT_FRAME}")
            end = at + 9 + length
            if end > len(data):
                break
            try:
                self._frame(kind, flags, stream & WINDOW_MOST, data[at + 9 : end])
            except (ValueError, struct.error) as error:
                raise Broken(PROTOCOL_ERROR, str(error)) from error
            except HPACKError as error:
                raise Broken(COMPRESSION, f"headers that can't be read: {error}") from error
            at = end
        self._rest = data[at:]

    def leave(self, code: int = NO_ERROR, why: str = "") -> None:
        """Tell the peer to take new calls elsewhere."""
        last = self._last if code else WINDOW_MOST
        self._write(frames.frame(frames.GOAWAY, 0, 0, struct.pack(">II", last, code) + why[:200].encode()))

    def send(self, stream: Stream, message: bytes, end: bytes = b"") -> None:
        """Send a message, and with it the end if it is the last."""
        if stream.gone:
            self.forget(stream)
            return
        data = framed(message)
        begin = b"" if stream.has_begun else frames.headers_frames(stream.id, self._emptied + BEGIN)
        stream.has_begun = True
        if stream.unsent is None and not self._is_full and len(data) <= min(self._window, stream.window):
            self._window -= len(data)
            stream.window -= len(data)
            ending = self._ending(stream, end) if end else b""
            self._write(begin + frames.data_frames(stream.id, data, self._frame_most) + ending)
            return
        if begin:
            self._write(begin)
        stream.unsent = (stream.unsent or bytearray()) + data
        stream.finished = end or None
        self._waiting[stream.id] = stream
        self._unsent += len(data)
        self._pump()
        if self._unsent > WAITING_MOST:
            self._calls.overfull()

    def finish(self, stream: Stream, end: bytes = WELL) -> None:
        """End a call, after what is still to be sent, with these headers."""
        if stream.gone:
            self.forget(stream)
        elif stream.unsent is not None:
            stream.finished = end
        else:
            self._write(self._ending(stream, end))

    def forget(self, stream: Stream) -> None:
        """Whoever answered a call whose caller has gone is done with it."""
        self._streams.pop(stream.id, None)
        stream.call = None  # It knows its stream: they would wait for the garbage collector.

    def full(self, is_full: bool) -> None:
        """Whether the connection takes no more for now."""
        self._is_full = is_full
        self._pump()

    def lost(self) -> None:
        """There is no peer any more."""
        for stream in self.streams:
            self._go(stream)

    def read(self, stream: Stream, size: int) -> None:
        """A message of this size was taken: its caller may send more, once none waits that he has sent."""
        if stream.gone:
            return
        stream.untaken -= size + 5
        self._held -= size + 5
        if stream.unread and not stream.untaken and not stream.half_closed:
            self._write(frames.window_update(stream.id, stream.unread))
            stream.unread = 0

    def _ending(self, stream: Stream, end: bytes) -> bytes:
        self._close(stream)
        self.forget(stream)
        ending = frames.headers_frames(stream.id, self._emptied + end, END_STREAM)
        if stream.half_closed:
            return ending
        return ending + frames.frame(frames.RST_STREAM, 0, stream.id, bytes(4))  # NO_ERROR: no more need be said.

    def _close(self, stream: Stream) -> None:
        stream.gone = True
        self._held -= stream.messages.held_bytes + stream.untaken
        if stream.unsent is not None:
            self._unsent -= len(stream.unsent)
            self._waiting.pop(stream.id, None)
            stream.unsent = None

    def _greeting(self, data: bytes) -> int:
        """How long it is; 0 while more of it is to come."""
        most = len(frames.PREFACE)
        if data[:most] != frames.PREFACE[: len(data)]:
            raise Broken(PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2 without an upgrade")
        self._is_greeted = len(data) >= most
        return most if self._is_greeted else 0

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise Broken(PROTOCOL_ERROR, "a block of headers was not ended")
        if kind == frames.DATA:
            self._data(flags, stream, payload)
        elif kind == frames.HEADERS:
            self._headers(flags, stream, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(stream, frames.number(payload))
        elif kind == frames.CONTINUATION:
            self._continuation(flags, payload)
        elif kind == frames.RST_STREAM:
            self._reset(stream)
        else:
            self._control(kind, flags, payload)

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        self._idle()
        if kind == frames.PING and len(payload) != 8:
            raise Broken(FRAME_SIZE, f"PING of {len(payload)} bytes, not of 8")
        if kind == frames.PING and not flags & frames.ACK:
            self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._settings(payload)
        elif kind == frames.PUSH_PROMISE:
            raise Broken(PROTOCOL_ERROR, "a caller does not push")

    def _idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > IDLE_FRAMES_MOST:
            raise Broken(CALM, "too many frames that ask for nothing")

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        block = frames.unpadded(flags, payload)
        block = block[5:] if flags & frames.HAS_PRIORITY else block
        if flags & END_HEADERS:
            self._open(flags, number, block)
        else:
            self._block = (number, flags, bytearray(block), 1)

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(PROTOCOL_ERROR, "CONTINUATION of nothing")
        number, first_flags, block, count = self._block
        block += payload
        if len(block) > 2 * HEAD_MOST or count > BLOCK_FRAMES_MOST:
            raise Broken(CALM, f"headers of more than {HEAD_MOST} bytes")
        self._block = (number, first_flags, block, count + 1)
        if flags & END_HEADERS:
            self._block = None
            self._open(first_flags, number, bytes(block))

    def _open(self, flags: int, number: int, block: bytes) -> None:
        head = self._heads.read(block)
        if stream := self._streams.get(number):  # Trailers: gRPC's callers have none to say.
            return self._half_close(stream)
        if number <= self._last or not number % 2:
            raise Broken(PROTOCOL_ERROR, f"stream {number} can't begin after {self._last}")
        self._last, self._idle_frames = number, 0
        if len(self._streams) >= self._streams_most:
            self._write(frames.frame(frames.RST_STREAM, 0, number, REFUSED.to_bytes(4, "big")))
            return None
        stream = self._streams[number] = Stream(number, head, self._initial_window, self._message_most)
        self._calls.begin(stream)
        if flags & END_STREAM:
            self._half_close(stream)
        return None

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._unread += len(payload)
        if self._unread > CONNECTION_WINDOW // 2:
            self._write(frames.window_update(0, self._unread))
            self._unread = 0
        if not (stream := self._streams.get(number)):
            if not number or number > self._last:
                raise Broken(PROTOCOL_ERROR, f"DATA on stream {number}, which has not begun")
            return None if payload else self._idle()  # It has ended, and they crossed.
        stream.unread += len(payload)
        data = frames.unpadded(flags, payload)
        if data:
            self._take(stream, data)
        elif not flags & END_STREAM:
            self._idle()
        if flags & END_STREAM:
            self._half_close(stream)
        if self._held > HELD_MOST and not stream.gone:
            self._calls.unreadable(stream, Unreadable(StatusCode.RESOURCE_EXHAUSTED, TOO_MUCH))
        return None

    def _take(self, stream: Stream, data: bytes) -> None:
        if stream.gone or stream.half_closed:
            return
        held = stream.messages.held_bytes
        try:
            messages = stream.messages.take(data)
        except Unreadable as error:
            self._calls.unreadable(stream, error)
            return
        finally:
            self._held += stream.messages.held_bytes - held
        for message in messages:
            if not stream.gone:
                stream.untaken += len(message) + 5
                self._held += len(message) + 5
                self._calls.message(stream, message)

    def _half_close(self, stream: Stream) -> None:
        if not stream.half_closed and not stream.gone:
            stream.half_closed = True
            self._calls.half_closed(stream)

    def _reset(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.gone:
            self._idle()
        else:
            self._go(stream)

    def _go(self, stream: Stream) -> None:
        if not stream.gone:
            self._close(stream)
            self._calls.gone(stream)  # It counts as open until that is done with it.

    def _window_update(self, number: int, more: int) -> None:
        if not more:
            raise Broken(PROTOCOL_ERROR, "a window that opens by nothing")
        if not number:
            self._window += more
            _check_window(self._window)
        elif stream := self._streams.get(number):
            self._widen(stream, more)
        self._pump()

    def _widen(self, stream: Stream, more: int) -> None:
        stream.window += more
        _check_window(stream.window)
        if stream.unsent is not None:
            self._waiting[stream.id] = stream

    def _settings(self, payload: bytes) -> None:
        window = self._initial_window
        for name, value in struct.iter_unpack(">HI", payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                _check_window(value)
                window = value
            elif name == frames.HEADER_TABLE_SIZE and value < frames.DEFAULT_TABLE:
                self._emptied = NO_TABLE
            elif name == frames.MAX_FRAME_SIZE:
                if not DEFAULT_FRAME <= value < 2**24:
                    raise Broken(PROTOCOL_ERROR, f"frames of {value} bytes")
                self._frame_most = value
        more, self._initial_window = window - self._initial_window, window
        for stream in self._streams.values() if more else ():
            self._widen(stream, more)
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._pump()

    def _pump(self) -> None:
        done = []
        for stream in self._waiting.values():
            if self._is_full or self._window <= 0:
                break
            if self._flush(stream):
                done.append(stream)
        for stream in done:
            del self._waiting[stream.id]
            if stream.unsent is None and stream.finished is not None:
                self._write(self._ending(stream, stream.finished))

    def _flush(self, stream: Stream) -> bool:
        """Whether it need not wait for the connection: all went out, or its own window has to open first."""
        unsent = stream.unsent or bytearray()
        room = min(self._window, stream.window, len(unsent))
        if room > 0:
            self._window -= room
            self._unsent -= room
            stream.window -= room
            self._write(frames.data_frames(stream.id, bytes(unsent[:room]), self._frame_most))
            del unsent[:room]
            self._calls.sent(stream)
        if not unsent:
            stream.unsent = None
        return not unsent or stream.window <= 0


def _check_window(window: int) -> None:
    if window > WINDOW_MOST:
        raise Broken(FLOW_CONTROL, "a window of more than 2^31-1 bytes")
