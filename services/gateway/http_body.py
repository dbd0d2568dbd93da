"""The body of a request as its caller packed it. Pure."""

import zlib
from typing import Final

PACKINGS: Final = ("gzip", "deflate")
GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body without its content-encoding, at most one byte more than `most_bytes`. Raises ValueError.

    aiohttp would unpack, too, but has unpacked a hundred times as much before it sees that it is too much.
    """
    packing = encoding.strip().lower()
    if packing in ("", "identity"):
        return body
    if packing not in PACKINGS:
        raise ValueError(f"content-encoding: {encoding[:64]!r} is none of {', '.join(PACKINGS)}")
    unpacking = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        found = unpacking.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"content-encoding: the body is not {packing}") from error
    if not unpacking.eof and len(found) <= most_bytes:
        raise ValueError(f"content-encoding: the body is not {packing} to its end")
    return found
