"""The data of a stream's events, from bytes in any pieces: server-sent events, as WHATWG has them. Pure."""

from collections.abc import Iterator
from typing import Final

BOM: Final = b"\xef\xbb\xbf"


class Events:
    """Those of one stream."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._is_first = True
        self._after_cr = False

    def take(self, piece: bytes) -> Iterator[str]:
        """The data of each event that ends in this piece. One without data is none."""
        if not piece:
            return
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        self._line += piece
        if b"\n" in piece or b"\r" in piece:
            yield from self._ended(bytes(self._line).splitlines(keepends=True))

    def _ended(self, lines: list[bytes]) -> Iterator[str]:
        self._line = bytearray() if lines[-1].endswith((b"\n", b"\r")) else bytearray(lines.pop())
        if self._is_first:
            self._is_first, lines[0] = False, lines[0].removeprefix(BOM)
        for line in lines:
            if text := line.rstrip(b"\r\n"):
                self._field(text)
                continue
            data = "\n".join(self._data)
            self._data.clear()
            if data:
                yield data

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" ").decode(errors="replace"))
