"""What the sampler remembers of the past, bounded by count and age: the oldest is forgotten first.

Kinds of entry: `exchange` (id -> Exchange), `rating` and `correction` (exchange id -> FeedbackRecord, the latest of
each) and `question` (fingerprint -> id of the exchange that was chosen for it, and the probability of that). All live
in one mapping of bytes, which Faust rebuilds from the changelog topic after a restart.
"""

import struct
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Final

REMEMBERED_AT: Final = struct.Struct(">d")
"""Every value begins with the time it was remembered: seconds since 1970 UTC."""


class Kind(StrEnum):
    """The first part of a key."""

    EXCHANGE = "exchange"
    RATING = "rating"
    CORRECTION = "correction"
    QUESTION = "question"


PREFIXES: Final = {kind: f"{kind}:".encode() for kind in Kind}


class Memory:
    """A view of a mapping of bytes in the order of remembering. `written` holds what the changelog lacks as yet."""

    def __init__(self, data: MutableMapping[bytes, bytes], max_count: int, max_age_s: float) -> None:
        self._data = data
        self._max_count = max_count
        self._max_age_s = max_age_s
        self.written: dict[tuple[int, bytes], bytes] = {}
        self._erased: dict[bytes, None] = {}

    def get(self, kind: Kind, name: str) -> bytes | None:
        """What was remembered under that name, if it is not forgotten."""
        value = self._data.get(_key(kind, name))
        return None if value is None else value[REMEMBERED_AT.size :]

    def put(self, kind: Kind, name: str, payload: bytes, partition: int, now_s: float) -> None:
        """Remember, as the newest entry, unless it was erased; `partition` is the one whose events it came with."""
        key, value = _key(kind, name), REMEMBERED_AT.pack(now_s) + payload
        if key in self._erased:
            return
        self._data.pop(key, None)  # so that it goes to the end, where the newest stand
        self._data[key] = value
        self.written[partition, key] = value

    def erase(self, key: bytes) -> bool:
        """Forget a key of the mapping and what may still come under it; tell whether there was something."""
        self._erased[key] = None
        if len(self._erased) > self._max_count:
            del self._erased[next(iter(self._erased))]
        return self._data.pop(key, None) is not None

    def forget_old(self, now_s: float) -> None:
        """Drop what is too old, and the oldest above the count."""
        trim(self._data, self._max_count, now_s - self._max_age_s)


def trim(data: MutableMapping[bytes, bytes], max_count: int, oldest_s: float) -> list[bytes]:
    """Drop from the front of `data` what was remembered before `oldest_s` or is above the count; return the keys."""
    gone: list[bytes] = []
    for key, value in data.items():
        if len(data) - len(gone) <= max_count and REMEMBERED_AT.unpack_from(value)[0] >= oldest_s:
            break
        gone.append(key)
    for key in gone:
        del data[key]
    return gone


def _key(kind: Kind, name: str) -> bytes:
    return PREFIXES[kind] + name.encode()
