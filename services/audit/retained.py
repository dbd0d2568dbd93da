"""Which exchanges topic `exchanges` still holds: counted from the topic itself, not from what anybody said."""

from collections import defaultdict
from typing import Final

from services.topics import Record, position

CHUNK: Final = 2**16
"""Sequences that share the memory which the first of them takes: 8 KiB."""


class Retained:
    """Takes the topic's records; keeps a bit for each sequence, two megabytes for 16 million without gaps.

    A record takes 8 KiB at most, however far its sequence is.
    """

    def __init__(self) -> None:
        self._seen: defaultdict[str, defaultdict[int, bytearray]] = defaultdict(lambda: defaultdict(_chunk))
        self.records = 0
        self.without_place = 0
        """Records that tell no source and sequence."""

    def add(self, record: Record) -> None:
        """Count a record; the same exchange again changes nothing but `records`."""
        self.records += 1
        if (place := position(record)) is None:
            self.without_place += 1
            return
        (chunk, within), seen = divmod(place[1], CHUNK), self._seen[place[0]]
        seen[chunk][within // 8] |= 1 << within % 8

    def distinct(self) -> dict[str, int]:
        """How many sequences of each source are there."""
        return {
            source: sum(int.from_bytes(bits, "little").bit_count() for bits in chunks.values())
            for source, chunks in self._seen.items()
        }


def _chunk() -> bytearray:
    return bytearray(CHUNK // 8)
