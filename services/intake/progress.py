"""How far each partition has been answered; pure.

Requests are answered side by side and end in any order, but a commit says "all before this": it may only go up to
the oldest that is still open.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from services.topics import Record

Place = tuple[str, int]
"""Topic and partition."""


@dataclass
class _Partition:
    open: dict[int, Record] = field(default_factory=dict)  # By offset, in the order of reading.
    answered: set[int] = field(default_factory=set)


class Progress:
    """The records that are taken and not yet committed."""

    def __init__(self) -> None:
        self._partitions: dict[Place, _Partition] = {}

    def take(self, record: Record) -> bool:
        """Note that work on the record begins; False if it is in hand already (read again after a rebalance)."""
        partition = self._partitions.setdefault((record.topic, record.partition), _Partition())
        if record.offset in partition.open:
            return False
        partition.open[record.offset] = record
        return True

    def answer(self, record: Record) -> None:
        """Note that the work is done."""
        partition = self._partitions.get((record.topic, record.partition))
        if partition and record.offset in partition.open:
            partition.answered.add(record.offset)

    def committable(self) -> list[Record]:
        """The last record of each partition before which, itself included, all are answered."""
        return [found[-1] for partition in self._partitions.values() if (found := _finished(partition))]

    def committed(self, records: Collection[Record]) -> None:
        """Forget these records and all before them."""
        for record in records:
            partition = self._partitions.get((record.topic, record.partition), _Partition())
            for offset in [offset for offset in partition.open if offset <= record.offset]:
                del partition.open[offset]
                partition.answered.discard(offset)

    def keep(self, owned: Collection[Place]) -> None:
        """Forget the partitions that went to another member, who reads again what was not committed."""
        self._partitions = {place: state for place, state in self._partitions.items() if place in owned}


def _finished(partition: _Partition) -> list[Record]:
    finished = []
    for offset in sorted(partition.open):
        if offset not in partition.answered:
            break
        finished.append(partition.open[offset])
    return finished
