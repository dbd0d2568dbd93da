"""The server's side of an HTTP/2 connection that carries gRPC calls. Pure: bytes in, calls out, and back.

Written for what every call pays: `grpc.aio`'s server takes 370 us of processor time for a call, `h2` 330, this 40
(`benchmarks/README.md`). It knows what RFC 9113 and gRPC's description of itself over HTTP/2 say of a server; headers
are `hpack`'s. Whoever breaks the protocol loses his connection, with the reason in its GOAWAY.
"""

import struct
from collections.abc import Callable
from typing import Final

from grpc import StatusCode
from hpack import HPACKError

from services.gateway import frames
from services.gateway.frames import DEFAULT_FRAME, DEFAULT_WINDOW, END_HEADERS, END_STREAM, WINDOW_MOST
from services.gateway.grpc_head import HEAD_MOST, Heads
from services.gateway.grpc_messages import Unreadable
from services.gateway.grpc_outgoing import NO_TABLE, Outgoing
from services.gateway.grpc_streams import (
    CALM,
    COMPRESSION,
    FRAME_SIZE,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED,
    Broken,
    Calls,
    Stream,
    check_window,
)
from services.gateway.held import Held

CONNECTION_WINDOW: Final = 2**30
"""What callers may send ahead on all streams of a connection: what is held of it has limits of its own."""
HELD_MOST: Final = 64 * 1024**2
"""Bytes that a connection's messages may have which are not whole, or which no call has taken."""
TOO_MUCH: Final = f"more than {HELD_MOST} bytes wait on this connection: wait for an answer before you send more"
CALL_BYTES: Final = 1024
"""That are counted for a call of which not all has come, beside what came of its message; more where its head is long.
It takes twice as many; but some clients send a hundred thousand heads at once, and their messages after them."""
VISITS_MOST: Final = 2_000_000
VISITS_PER_READ: Final = 100
"""How many calls' windows may be changed by SETTINGS, each of which changes those of all: fifteen bytes would else keep
the gateway busy for a second, again and again."""
IDLE_FRAMES_MOST: Final = 10_000
"""Frames that ask for nothing, many at a time, since the last call began."""
BLOCK_FRAMES_MOST: Final = 32
"""CONTINUATION frames of one block of headers."""


class Connection(Outgoing):
    """Takes what comes, and hands the calls to who answers them."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        calls: Calls,
        *,
        message_most: int,
        streams_most: int,
        held: Held | None = None,
    ) -> None:
        """`write` takes bytes for the peer. `message_most` in bytes; more calls than `streams_most` are refused.

        `held` is counted by all connections together.
        """
        super().__init__(write, calls)
        self._of_all = held or Held()
        self._told = 0  # to `_of_all`, of what is held here
        self._begun: list[Stream] = []  # by what is being read, and not said to its end by the same frame
        self._message_most = message_most
        self._streams_most = streams_most
        self._incoming = frames.Incoming()
        self._said = b""  # of the greeting
        self._is_greeted = False
        self._heads = Heads()
        self._block: tuple[int, int, bytearray, int] | None = None  # stream, flags, headers so far, frames
        self._last = 0
        self._unread = self._held = self._idle_frames = 0
        self._reads, self._visits = 0, VISITS_MOST
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
        self._reads += 1
        self._idle_frames = max(0, self._idle_frames - 1)  # One with each read is no flood: a caller's pings, for days.
        if not self._is_greeted:
            data = self._after_greeting(data)
        try:
            for kind, flags, stream, payload in self._incoming.take(data):
                self._frame(kind, flags, stream, payload)
        except frames.TooLong as error:
            raise Broken(FRAME_SIZE, str(error)) from error
        except (ValueError, struct.error) as error:
            raise Broken(PROTOCOL_ERROR, str(error)) from error
        except HPACKError as error:
            raise Broken(COMPRESSION, f"headers that can't be read: {error}") from error
        if self._begun:
            self._wait()

    def leave(self, code: int = NO_ERROR, why: str = "") -> None:
        """Tell the peer to take new calls elsewhere."""
        last = self._last if code else WINDOW_MOST
        self._write(frames.frame(frames.GOAWAY, 0, 0, struct.pack(">II", last, code) + why[:200].encode()))

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
        if self._held != self._told:
            self._tell()
        if stream.unread and not stream.untaken and not stream.half_closed:
            self._write(frames.window_update(stream.id, stream.unread))
            stream.unread = 0

    def _close(self, stream: Stream) -> None:
        self._held -= stream.messages.held_bytes + stream.untaken + stream.charged
        if self._held != self._told:
            self._tell()
        super()._close(stream)

    def _wait(self) -> None:
        """Have judged, and count, what has begun and not come whole. Calls that do come whole pay nothing for it."""
        begun, self._begun = self._begun, []
        for stream in begun:
            if not stream.gone and not stream.half_closed:
                self._calls.waits(stream)
            if not stream.gone and not stream.half_closed:
                stream.charged = max(CALL_BYTES, 2 * stream.head.size)
                self._held += stream.charged
                self._tell()
                self._check_held(stream)

    def _tell(self) -> None:
        self._of_all.bytes += self._held - self._told
        self._told = self._held

    def _check_held(self, stream: Stream) -> None:
        too_much = self._of_all.too_much if stream.charged else ""
        if self._held > HELD_MOST:
            too_much = TOO_MUCH
        if too_much:
            self._calls.unreadable(stream, Unreadable(StatusCode.RESOURCE_EXHAUSTED, too_much))

    def _after_greeting(self, data: bytes) -> bytes:
        """What follows it; nothing while more of it is to come."""
        said, most = self._said + data, len(frames.PREFACE)
        if said[:most] != frames.PREFACE[: len(said)]:
            raise Broken(PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2 without an upgrade")
        self._is_greeted = len(said) >= most
        self._said = b"" if self._is_greeted else said
        return said[most:]

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
        block = frames.header_block(flags, payload)
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
        else:
            self._begun.append(stream)
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
        if self._held != self._told:
            self._tell()
            if not stream.gone:
                self._check_held(stream)
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
            if stream.charged:
                self._held -= stream.charged
                stream.charged = 0
                self._tell()
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
            check_window(self._window)
        elif stream := self._streams.get(number):
            self._widen(stream, more)
        self._pump()

    def _settings(self, payload: bytes) -> None:
        window = self._initial_window
        for name, value in struct.iter_unpack(">HI", payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                check_window(value)
                window = value
            elif name == frames.HEADER_TABLE_SIZE and value < frames.DEFAULT_TABLE:
                self._emptied = NO_TABLE
            elif name == frames.MAX_FRAME_SIZE:
                if not DEFAULT_FRAME <= value < 2**24:
                    raise Broken(PROTOCOL_ERROR, f"frames of {value} bytes")
                self._frame_most = value
        more, self._initial_window = window - self._initial_window, window
        if more:
            self._widen_all(more)
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._pump()

    def _widen_all(self, more: int) -> None:
        self._visits = min(self._visits + self._reads * VISITS_PER_READ, VISITS_MOST) - len(self._streams)
        self._reads = 0
        if self._visits < 0:
            raise Broken(CALM, "too many changes of the windows of all calls")
        for stream in self._streams.values():
            self._widen(stream, more)
