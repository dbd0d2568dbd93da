"""How many of each sort are kept, in bounded memory: a reservoir per task, stratum and day, of priorities alone.

An exchange's priority is a number from 0 to below 1 that its question decides, divided by its weight. A reservoir holds
the smallest so many of the day; an exchange is kept if its own is below the largest of them. So nothing that was kept
is ever taken back, the limit is passed by the logarithm of the traffic at most (1,000 of a million: 7,900), and the
probability of being kept is known at that moment: the limit follows from others' questions, not from its own.
"""

import heapq
from collections import OrderedDict
from typing import Final

MOST_RESERVOIRS: Final = 1_000
"""Answers of a thousand shapes are no shapes: beyond it the one longest unused is forgotten, and begins anew."""
DAY_S: Final = 86_400.0

Key = tuple[str, str, int]


class Reservoirs:
    """Of all tasks of one worker."""

    def __init__(self, most: int = MOST_RESERVOIRS) -> None:
        self._most = most
        self._smallest: OrderedDict[Key, list[float]] = OrderedDict()

    def limit(self, task: str, stratum: str, size: int, now_s: float) -> float:
        """The priority below which an exchange of that sort is kept now; 1 while there is room."""
        heap = self._of(task, stratum, now_s)
        return -heap[0] if len(heap) >= size else 1.0

    def add(self, task: str, stratum: str, size: int, now_s: float, priority: float) -> None:
        """Note the priority of an exchange, kept or not."""
        heap = self._of(task, stratum, now_s)
        if len(heap) < size:
            heapq.heappush(heap, -priority)
        else:
            heapq.heappushpop(heap, -priority)

    def _of(self, task: str, stratum: str, now_s: float) -> list[float]:
        key = task, stratum, int(now_s // DAY_S)
        heap = self._smallest.setdefault(key, [])
        self._smallest.move_to_end(key)
        if len(self._smallest) > self._most:
            self._smallest.popitem(last=False)
        return heap
