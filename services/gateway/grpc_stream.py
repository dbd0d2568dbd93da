"""The client's side of one gRPC stream on an HTTP/2 connection of its own. Pure: bytes in, messages out, and back.

Written for the student's stream, which carries all calls: a message each way costs a third of what `grpc.aio` takes for
it, and half of what `h2` takes, as many messages share a frame and a system call (`benchmarks/README.md`). It knows no
more of RFC 9113 than one stream without TLS needs; headers are `hpack`'s.
"""

import struct
from collections import OrderedDict, deque
from typing import Final
from urllib.parse import unquote

from hpack import Decoder, Encoder, HPACKError

from services.gateway import frames
from services.gateway.frames import (
    ACK,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    frame,
    number,
    unpadded,
    window_update,
)
from services.gateway.grpc_messages import framed

WINDOW: Final = 16 * 1024**2
"""What the peer may send ahead of our word that it was read: nothing waits here, so it need not wait for that."""
MESSAGE_MOST: Final = 16 * 1024**2
"""Bytes of one message: an answer of a million tokens with their log-probabilities has half of that."""


class _Ended(Exception):  # noqa: N818 - it says what happened
    """The peer ended the stream, or said what HTTP/2 or gRPC does not allow. The text says which."""


class GrpcStream:
    """One stream, open from the start. Messages go out in order, as far as the peer's windows allow."""

    def __init__(self, authority: str, path: str) -> None:
        """`authority` is host:port, `path` the method as /package.Service/Method."""
        self._incoming, self._message = frames.Incoming(), bytearray()
        self._headers = bytearray()  # a block whose end has not come yet
        self._headers_end_stream = False
        self._decoder = Decoder()
        self._unread_bytes = 0  # that the peer has not been told of as read
        self._unsent = OrderedDict[str, bytes]()  # A dict takes the longer for its first the more went before.
        self._begun = bytearray()  # what must go out next: it holds the rest of a message that is partly sent
        self._connection_window = self._stream_window = self._initial_window = DEFAULT_WINDOW
        self._frame_most = DEFAULT_FRAME
        self._control = deque([_opening(authority, path)])
        self.leaving = False
        """The peer takes no further streams on this connection: open another for what comes next."""
        self.ended = ""
        """Why the stream is over, for people; '' while it goes on."""

    def send(self, key: str, message: bytes) -> None:
        """Queue a message. `key` is a name to withdraw it by."""
        self._unsent[key] = message

    def withdraw(self, key: str) -> bool:
        """Whether the message had not begun to go out; then it never will."""
        return self._unsent.pop(key, None) is not None

    def half_close(self) -> bytes:
        """The bytes that say there are no more messages. Nothing that is queued is sent."""
        self._unsent.clear()
        return frame(DATA, END_STREAM, 1, b"")

    def control_to_send(self) -> bytes:
        """What must go out whatever the windows are."""
        control = b"".join(self._control)
        self._control.clear()
        return control

    def data_to_send(self) -> bytes:
        """As much of the messages as the peer's windows have room for."""
        room = min(self._connection_window, self._stream_window)
        while self._unsent and len(self._begun) < room:
            _, message = self._unsent.popitem(last=False)
            self._begun += framed(message)
        data = bytes(self._begun[: max(0, room)])
        del self._begun[: len(data)]
        self._connection_window -= len(data)
        self._stream_window -= len(data)
        return frames.data_frames(1, data, self._frame_most) if data else b""

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete. If they end the stream, `ended` says why."""
        try:
            for kind, flags, stream, payload in self._incoming.take(data):
                self._frame(kind, flags, stream, payload)
        except (_Ended, ValueError, struct.error) as ended:
            self.ended = str(ended)
        return self._messages()

    def _messages(self) -> list[bytes]:
        messages, at, held = [], 0, self._message
        while len(held) - at >= 5:
            compressed, length = held[at], int.from_bytes(held[at + 1 : at + 5], "big")
            if compressed or length > MESSAGE_MOST:
                self.ended = f"a message of {length} bytes, of at most {MESSAGE_MOST}, or a compressed one"
                break
            if len(held) - at - 5 < length:
                break
            messages.append(bytes(held[at + 5 : at + 5 + length]))
            at += 5 + length
        del held[:at]
        return messages

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._data(flags, payload)
        elif kind == frames.WINDOW_UPDATE and stream:
            self._stream_window += number(payload)
        elif kind == frames.WINDOW_UPDATE:
            self._connection_window += number(payload)
        elif kind in {HEADERS, frames.CONTINUATION}:
            self._header_block(kind, flags, payload)
        elif kind == frames.SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == frames.PING and not flags & ACK:
            self._control.append(frame(frames.PING, ACK, 0, payload))
        elif kind == frames.GOAWAY:
            self._going_away(payload)
        elif kind == frames.RST_STREAM:
            raise _Ended(f"the stream was reset, HTTP/2 code {number(payload)}")

    def _data(self, flags: int, payload: bytes) -> None:
        self._unread_bytes += len(payload)
        if self._unread_bytes > WINDOW // 4:
            self._control += [window_update(0, self._unread_bytes), window_update(1, self._unread_bytes)]
            self._unread_bytes = 0
        self._message += unpadded(flags, payload)
        if flags & END_STREAM:
            raise _Ended("the stream ended without a status")

    def _header_block(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == HEADERS:
            self._headers_end_stream = bool(flags & END_STREAM)
            self._headers = bytearray(frames.header_block(flags, payload))
        else:
            self._headers += payload
        if len(self._headers) > DEFAULT_FRAME:
            raise _Ended("headers without end")
        if not flags & END_HEADERS:
            return
        try:
            headers = dict[bytes, bytes](self._decoder.decode(bytes(self._headers), raw=True))
        except HPACKError as error:
            raise _Ended(f"headers that can't be read: {error}") from error
        status, text = (
            headers.get(b"grpc-status", b"").decode(errors="replace"),
            unquote(headers.get(b"grpc-message", b"").decode(errors="replace")),
        )
        if self._headers_end_stream or status:
            raise _Ended(f"the stream ended with gRPC status {status or 'unknown'}: {text}")
        if (http := headers.get(b":status", b"none").decode(errors="replace")) != "200":
            raise _Ended(f"HTTP status {http}")

    def _settings(self, payload: bytes) -> None:
        for at in range(0, len(payload) - 5, 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == frames.MAX_FRAME_SIZE:
                self._frame_most = value
        self._control.append(frame(frames.SETTINGS, ACK, 0, b""))

    def _going_away(self, payload: bytes) -> None:
        last_stream, code = struct.unpack_from(">II", payload)
        self.leaving = True
        if code or not last_stream & 0x7FFF_FFFF:
            said = payload[8:200].decode("ascii", "replace")
            raise _Ended(f"the connection was ended, HTTP/2 code {code}: {said}")


def _opening(authority: str, path: str) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = Encoder().encode(list(headers.items()))
    opening = [
        frames.settings({INITIAL_WINDOW_SIZE: WINDOW, frames.ENABLE_PUSH: 0}),
        window_update(0, WINDOW - DEFAULT_WINDOW),
        frame(HEADERS, END_HEADERS, 1, block),
    ]
    return frames.PREFACE + b"".join(opening)
