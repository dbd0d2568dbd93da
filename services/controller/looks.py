"""How many decisions a golden set has served before; pure. Each one more makes a wrong promotion likelier by chance."""

from collections.abc import Callable, Iterable

from protos import events_pb2 as events


def look(run: events.Run, runs: Iterable[events.Run], golden: Callable[[events.Run], frozenset[str] | None]) -> int:
    """1 for the first run of the task that is judged on these golden examples, 2 for the next.

    A run that was judged on none of them did not look at this set. `golden`: the ids of the examples that a run is
    judged on; None if nobody knows any more, and then they count as the same.
    """
    ours = golden(run)
    judged = (other for other in runs if other.task == run.task and other.id != run.id and other.report)
    return 1 + sum(_shared(ours, golden(other)) for other in judged)


def _shared(ours: frozenset[str] | None, theirs: frozenset[str] | None) -> bool:
    return ours is None or theirs is None or not ours.isdisjoint(theirs)
