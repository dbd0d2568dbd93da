"""HTTP/2's frames (RFC 9113, section 6), as far as gRPC needs them on either side."""

import struct
from collections.abc import Iterator
from typing import Final

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK, END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME: Final = 16_384
DEFAULT_TABLE: Final = 4096
WINDOW_MOST: Final = 2**31 - 1
HEAD: Final = struct.Struct(">HBBBI")
"""A frame's length (its upper 16 bits, its lower 8), kind, flags and stream."""
_HEAD = struct.Struct(">IBI")


class TooLong(ValueError):  # noqa: N818 - it names what the frame is
    """A frame of more bytes than the peer was told that it may send."""


class Incoming:
    """A peer's frames, from what comes of them."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of each frame that these bytes complete. Raises TooLong."""
        data, at = self._rest + data if self._rest else data, 0
        while len(data) - at >= HEAD.size:
            upper, lower, kind, flags, stream = HEAD.unpack_from(data, at)
            length = upper << 8 | lower
            if length > DEFAULT_FRAME:
                raise TooLong(f"a frame of {length} bytes, of at most {DEFAULT_FRAME}")
            start, end = at + HEAD.size, at + HEAD.size + length
            if end > len(data):
                break
            yield kind, flags, stream & WINDOW_MOST, data[start:end]
            at = end
        self._rest = data[at:]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame; its payload is no longer than the peer takes."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def data_frames(stream: int, data: bytes, frame_most: int) -> bytes:
    """DATA in as many frames as it takes."""
    if len(data) <= frame_most:
        return frame(DATA, 0, stream, data)
    return b"".join(frame(DATA, 0, stream, data[at : at + frame_most]) for at in range(0, len(data), frame_most))


def headers_frames(stream: int, block: bytes, flags: int = 0) -> bytes:
    """HEADERS, and CONTINUATION of what does not fit into one frame. `flags`: END_STREAM or none."""
    first, rest = block[:DEFAULT_FRAME], block[DEFAULT_FRAME:]
    if not rest:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    frames = [frame(HEADERS, flags, stream, first)]
    for at in range(0, len(rest), DEFAULT_FRAME):
        last = at + DEFAULT_FRAME >= len(rest)
        frames.append(frame(CONTINUATION, END_HEADERS if last else 0, stream, rest[at : at + DEFAULT_FRAME]))
    return b"".join(frames)


def settings(values: dict[int, int]) -> bytes:
    """What this side asks of the other, by the settings' numbers."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """The peer may send `more` bytes; on all streams together where `stream` is 0."""
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def unpadded(flags: int, payload: bytes) -> bytes:
    """A payload without its padding. Raises ValueError where that is longer than the payload."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ValueError("more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def header_block(flags: int, payload: bytes) -> bytes:
    """The block, or its beginning, that HEADERS carry. Raises ValueError as `unpadded` does."""
    block = unpadded(flags, payload)
    return block[5:] if flags & HAS_PRIORITY else block


def number(payload: bytes) -> int:
    """The 31 bits that WINDOW_UPDATE and GOAWAY begin with; RST_STREAM's code is as small."""
    return int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
