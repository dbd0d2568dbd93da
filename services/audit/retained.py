"""Which exchanges topic `exchanges` still holds: counted from the topic itself, not from what anybody said."""

from collections import defaultdict

from services.topics import Record, position


class Retained:
    """Takes the topic's records; keeps a bit for each sequence, two megabytes for 16 million."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.records = 0
        self.without_place = 0
        """Records that tell no source and sequence."""

    def add(self, record: Record) -> None:
        """Count a record; the same exchange again changes nothing but `records`."""
        self.records += 1
        if (place := position(record)) is None:
            self.without_place += 1
            return
        bits, (byte, bit) = self._seen[place[0]], divmod(place[1], 8)
        if byte >= len(bits):
            bits.extend(bytes(max(byte + 1, 2 * len(bits)) - len(bits)))
        bits[byte] |= 1 << bit

    def distinct(self) -> dict[str, int]:
        """How many sequences of each source are there."""
        return {source: int.from_bytes(bits, "little").bit_count() for source, bits in self._seen.items()}
