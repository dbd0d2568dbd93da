"""The spool's files: how a record lies in one, how it is written whole or not at all, and how it is read back.

A segment is a file of frames, one per record, in the order of writing:

    frame   = length of body: u32 | crc32 of body: u32 | body
    body    = MessagePack: [topic, key, value, {header's name: its value}]

Both numbers are little-endian. Reading ends at the first frame that is not whole: a killed process can tear the last.
"""

import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from services.topics import Record

FRAME: Final = struct.Struct("<II")
SUFFIX: Final = ".seg"
_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK: Final = msgspec.msgpack.Decoder(tuple[str, bytes, bytes, dict[str, bytes]]).decode
READ_BYTES: Final = 1024 * 1024
SEGMENT_BYTES: Final = 8 * 1024 * 1024
SETTLED_BYTES: Final = 256 * 1024  # A file that Kafka has whole is left at this size: a killed gateway sends it again.


def pack(record: Record) -> bytes:
    """The frame that carries `record`."""
    body = _PACK((record.topic, record.key, record.value, record.headers))
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def unpack(data: bytes) -> Iterator[tuple[Record, int]]:
    """Every whole record from the start of `data`, with its frame's length in bytes."""
    start = 0
    while start + FRAME.size <= len(data):
        length, checksum = FRAME.unpack_from(data, start)
        body = data[start + FRAME.size : start + FRAME.size + length]
        # No body is empty, and a crc32 of nothing is 0: a tail of zeros, as power loss leaves, is no record.
        if not length or len(body) < length or zlib.crc32(body) != checksum:
            return
        try:
            record = Record(*_UNPACK(body))
        except msgspec.DecodeError:  # Of a gateway that wrote records otherwise.
            return
        yield record, FRAME.size + length
        start += FRAME.size + length


class Segment:
    """One file. The event loop writes at its end, the draining thread reads behind it; `acked` is the thread's alone.

    `written`, `sent` and `acked` count bytes. A sealed segment is written to no more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.written = os.fstat(self._fd).st_size
        self.sent = 0
        self.acked = 0
        self.sealed = False
        self.dirty = False
        self._named = False
        self._open = threading.Lock()

    def write(self, frames: bytes) -> None:
        """Write all of `frames`, or raise OSError and leave the segment as it was."""
        left = memoryview(frames)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            self._undo()
            raise
        self.written += len(frames)
        self.dirty = True

    def _undo(self) -> None:
        try:
            os.ftruncate(self._fd, self.written)
        except OSError:
            self.sealed = True  # Half a frame stays behind `written`, where nobody reads; the next start sets it aside.

    def sync(self) -> None:
        """Have the disk hold all that is written; nothing to do once the segment is removed."""
        with self._open:
            if self._fd >= 0 and self.dirty:
                self.dirty = False
                os.fsync(self._fd)
                self._name()

    def _name(self) -> None:
        if not self._named:
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)  # A file's bytes are safe only with its name.
            finally:
                os.close(directory)
            self._named = True

    def unsent(self) -> Iterator[tuple[Record, int]]:
        """The next whole records, a mebibyte of them or one, with the length of each in bytes."""
        left = self.written - self.sent
        data = os.pread(self._fd, min(READ_BYTES, left), self.sent)
        if len(data) >= FRAME.size and len(data) < left:
            length, _ = FRAME.unpack_from(data)
            if FRAME.size + length > len(data):  # One record longer than a read.
                data = os.pread(self._fd, min(FRAME.size + length, left), self.sent)
        return unpack(data)

    def rest(self) -> Iterator[bytes]:
        """The bytes behind `sent`, in pieces."""
        for start in range(self.sent, self.written, READ_BYTES):
            yield os.pread(self._fd, min(READ_BYTES, self.written - start), start)

    def remove(self) -> None:
        """Delete the file: Kafka has it all."""
        self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file, keeping it on disk."""
        with self._open:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1


def found(directory: Path) -> list[Segment]:
    """The segments that an earlier process left, oldest first. They may be torn, so nothing is written behind them."""
    segments = [Segment(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    for segment in segments:
        segment.sealed = True
    return segments


def following(directory: Path, last: Segment | None) -> Segment:
    """A new segment, behind `last` in order."""
    number = int(last.path.stem) + 1 if last else 1
    return Segment(directory / f"{number:020d}{SUFFIX}")


class Segments:
    """The row of files, oldest first: the event loop writes to the last, the draining thread takes the first away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        left = found(directory)
        self.left_bytes = sum(segment.written for segment in left)
        self._last = following(directory, left[-1] if left else None)
        self.row = deque([*left, self._last])

    def last(self) -> Segment:
        """The segment to write to. Raises OSError if a new one is due and can't be made."""
        if self._last.sealed or self._last.written >= (SETTLED_BYTES if self._settled() else SEGMENT_BYTES):
            segment = following(self._directory, self._last)
            self.row.append(segment)
            self._last.sealed = True
            self._last = segment
        return self._last

    def seal(self) -> None:
        """Leave the last segment, if it holds anything: sent and deleted it makes room. The next write has another."""
        if self._last.written:
            self._last.sealed = True

    def seal_settled(self) -> bool:
        """The same, if Kafka has all of it; False if it has not."""
        if settled := self._settled():
            self.seal()
        return settled

    def _settled(self) -> bool:
        return self._last.acked == self._last.written

    def sync(self) -> None:
        """Have the disk hold all that is written."""
        for segment in list(self.row):
            segment.sync()
