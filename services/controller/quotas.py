"""How many of each sort a snapshot's train takes: those with the smallest priorities, in memory for each sort alone.

Priorities follow from the ids, so two snapshots of the same candidates take the same. Which are taken is decided by
the first priority beyond the quota: below it an example is in, and so it is the probability of being taken.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from services.tasks import Task, fraction, stratum


class Quotas:
    """Look at all candidates of train first; then ask which are taken."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._size = task.sampling.strata.per_snapshot
        self._smallest: dict[str, list[float]] = defaultdict(list)

    def look(self, candidate: Mapping[str, Any]) -> None:
        """Count one in."""
        if candidate["corrected"]:
            return
        heap = self._smallest[self._sort(candidate)]
        if len(heap) <= self._size:
            heapq.heappush(heap, -self._priority(candidate))
        else:
            heapq.heappushpop(heap, -self._priority(candidate))

    def takes(self, candidate: Mapping[str, Any]) -> bool:
        """Whether there is room for it. For what people answered there always is."""
        return not self._size or bool(candidate["corrected"]) or self._priority(candidate) < self._limit(candidate)

    def probability(self, candidate: Mapping[str, Any]) -> float:
        """That it is taken."""
        if not self._size or candidate["corrected"]:
            return 1.0
        return min(1.0, self._limit(candidate) * self._weight(candidate))

    def _limit(self, candidate: Mapping[str, Any]) -> float:
        heap = self._smallest[self._sort(candidate)]
        return -heap[0] if len(heap) > self._size else float("inf")

    def _priority(self, candidate: Mapping[str, Any]) -> float:
        return fraction(str(candidate["id"]), salt="snapshot") / self._weight(candidate)

    def _weight(self, candidate: Mapping[str, Any]) -> float:
        """What the stream left of it: there hard cases were likelier by it, or certain, and the weight counts once."""
        if not candidate.get("hard") or candidate["probability"] < 1:
            return 1.0
        return max(1.0, self._task.sampling.hard_weight * self._task.sampling.rate)

    def _sort(self, candidate: Mapping[str, Any]) -> str:
        return stratum(self._task, candidate["kind"], candidate["answer"])
