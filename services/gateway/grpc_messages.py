"""gRPC's messages in a stream of bytes: a flag, the length, the message itself. Pure."""

import struct
import zlib
from typing import Final

import grpc

_PREFIX = struct.Struct(">BI")
_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Unreadable(Exception):  # noqa: N818 - it says of the message what it is
    """A message that is not taken, with the status that its call ends with."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def framed(message: bytes) -> bytes:
    """As it is sent, never compressed."""
    return _PREFIX.pack(0, len(message)) + message


class Messages:
    """Puts one stream's messages together."""

    __slots__ = ("_encoding", "_held", "most")

    def __init__(self, encoding: str, most: int) -> None:
        """`most`: bytes of a message, also of what it unpacks to; `encoding` is grpc-encoding's."""
        self._encoding = encoding
        self.most = most
        self._held: bytearray | None = None

    @property
    def held_bytes(self) -> int:
        """What has come of a message that is not whole."""
        return len(self._held or b"")

    def take(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete. Raises Unreadable."""
        if self._held is None and len(data) >= 5 and not data[0] and len(data) - 5 == _PREFIX.unpack_from(data)[1]:
            return [self._whole(0, data[5:])]
        held = self._held = self._held or bytearray()
        held += data
        messages, at = [], 0
        while len(held) - at >= 5:
            compressed, length = _PREFIX.unpack_from(held, at)
            self._check(length)
            if len(held) - at - 5 < length:
                break
            messages.append(self._whole(compressed, bytes(held[at + 5 : at + 5 + length])))
            at += 5 + length
        del held[:at]
        self._held = held or None
        return messages

    def _check(self, length: int) -> None:
        if length > self.most:
            text = f"a message of {length} bytes; at most {self.most} are taken (MAX_REQUEST_BYTES)"
            raise Unreadable(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _whole(self, compressed: int, message: bytes) -> bytes:
        self._check(len(message))
        if not compressed:
            return message
        if not (bits := _WINDOW_BITS.get(self._encoding)):
            raise self._packed_otherwise()
        unpacker = zlib.decompressobj(bits)
        try:
            unpacked = unpacker.decompress(message, self.most + 1)
        except zlib.error as error:
            raise Unreadable(grpc.StatusCode.INTERNAL, f"a message that does not unpack: {error}") from error
        self._check(len(unpacked))
        if not unpacker.eof or unpacker.unused_data:
            raise Unreadable(grpc.StatusCode.INTERNAL, "a message that does not unpack: it ends elsewhere than it says")
        return unpacked

    def _packed_otherwise(self) -> Unreadable:
        if self._encoding == "identity":
            text = "a message is compressed, and grpc-encoding does not say how"
            return Unreadable(grpc.StatusCode.INTERNAL, text)
        text = f"grpc-encoding {self._encoding[:40]!r}: only gzip and deflate are taken"
        return Unreadable(grpc.StatusCode.UNIMPLEMENTED, text)
