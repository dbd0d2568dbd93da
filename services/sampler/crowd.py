"""What a worker remembers of others' questions beyond their fingerprints: sketches and reservoirs, in bounded memory.

They are not on the changelog: a record for each would be a third of a worker's time. So a new worker begins anew, and a
worker sees no more than its own partitions. What it lets through for that the snapshot finds, which looks at all; the
probabilities stay right, as they follow from what was remembered when they were noted.
"""

from protos import events_pb2 as events
from services.sampler.reservoirs import Reservoirs
from services.similarity import QUICK, Neighbours, Sketch, sketch
from services.tasks import Task, question


class Remembered:
    """The crowd of one worker. `now_s` is the time of the batch in hand."""

    def __init__(self, most: int) -> None:
        self.now_s = 0.0
        self._most = most
        self._near: dict[str, Neighbours] = {}
        self._reservoirs = Reservoirs()
        self._looked_at: tuple[str, Sketch] | None = None

    def is_near_duplicate(self, task: Task, exchange: events.Exchange, answer: str) -> bool:
        """Whether another exchange was chosen to which this one is too near."""
        if not task.sampling.near_duplicates_in_stream:
            return False
        seen = sketch(question(exchange.request), answer, QUICK)
        self._looked_at = exchange.id, seen
        return any(name != exchange.id for name in self._of(task).near(seen))

    def choose(self, task: Task, exchange: events.Exchange) -> None:
        """Remember one that has been chosen, if it has just been looked at."""
        if self._looked_at and self._looked_at[0] == exchange.id:
            self._of(task).add(*self._looked_at)
            self._looked_at = None

    def limit(self, task: Task, stratum: str, priority: float) -> float:
        """As of the reservoir of its sort today."""
        size = task.sampling.strata.per_day
        limit = self._reservoirs.limit(task.name, stratum, size, self.now_s)
        self._reservoirs.add(task.name, stratum, size, self.now_s, priority)
        return limit

    def _of(self, task: Task) -> Neighbours:
        if task.name not in self._near:
            self._near[task.name] = Neighbours(task.sampling.near_duplicate, self._most, QUICK)
        return self._near[task.name]
