"""What a gRPC server sends: at once as far as the peer's windows allow, the rest as they open. Pure."""

from collections.abc import Callable
from typing import Final

from services.gateway import frames
from services.gateway.frames import DEFAULT_FRAME, DEFAULT_WINDOW, END_STREAM
from services.gateway.grpc_head import BEGIN, WELL
from services.gateway.grpc_messages import framed
from services.gateway.grpc_streams import Calls, Stream, check_window

WAITING_MOST: Final = 256 * 1024**2
"""Bytes of answers that may wait for a connection's windows: who asks on and never opens them is cut off."""
WAITING_CALL_BYTES: Final = 1024
"""That a call takes whose answer waits, beside the answer."""
NO_TABLE: Final = b"\x20"
"""RFC 7541, 6.3: the table of headers is empty from here on."""


class Outgoing:
    """The sending half of a `grpc_connection.Connection`."""

    def __init__(self, write: Callable[[bytes], object], calls: Calls) -> None:
        self._write = write
        self._calls = calls
        self._streams: dict[int, Stream] = {}
        self._unsent = 0
        self._window = self._initial_window = DEFAULT_WINDOW
        self._frame_most = DEFAULT_FRAME
        self._emptied = b""  # before a block of headers: that it leaves no table, to peers who keep a smaller one
        self._waiting: dict[int, Stream] = {}  # for the connection: its window, or that it is no longer full
        self._is_full = False

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
        if stream.unsent is None:
            stream.unsent = bytearray()
            self._unsent += WAITING_CALL_BYTES
        stream.unsent += data
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
        if stream.among is not None:
            stream.among.discard(stream)

    @property
    def waiting_bytes(self) -> int:
        """What is held of answers, and of their calls, that wait for the peer."""
        return self._unsent

    def full(self, is_full: bool) -> None:
        """Whether the connection takes no more for now."""
        self._is_full = is_full
        self._pump()

    def _ending(self, stream: Stream, end: bytes) -> bytes:
        self._close(stream)
        self.forget(stream)
        ending = frames.headers_frames(stream.id, self._emptied + end, END_STREAM)
        if stream.half_closed:
            return ending
        return ending + frames.frame(frames.RST_STREAM, 0, stream.id, bytes(4))  # NO_ERROR: no more need be said.

    def _close(self, stream: Stream) -> None:
        stream.gone = True
        if stream.unsent is not None:
            self._unsent -= len(stream.unsent) + WAITING_CALL_BYTES
            self._waiting.pop(stream.id, None)
            stream.unsent = None

    def _widen(self, stream: Stream, more: int) -> None:
        stream.window += more
        check_window(stream.window)
        if stream.unsent is not None:
            self._waiting[stream.id] = stream

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
            self._unsent -= WAITING_CALL_BYTES
        return not unsent or stream.window <= 0
