"""What benchmarks.concurrency makes of what it saw: memory per call, lost calls, the slope of memory. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.result import Goal, at_least, at_most

KB: Final = 1_000
MIB: Final = 2**20
GIVEN_BACK: Final = 0.9
"""Of what 100,000 calls took, what must be free again after the pause. The rest malloc keeps in pages that hold
something else as well; what would go on growing shows in the soak."""
CALLS_THAT_TELL: Final = 20_000
"""Of fewer held calls nobody can say what share is free again: a few MiB, which the service takes anyway, decide it."""
BYTES_A_CALL: Final = 16.0
"""Over a soak. Whatever is left behind by each call is larger: an empty Python object has 16 bytes."""


@dataclass(frozen=True)
class Memory:
    """Resident bytes of all processes: before, at most, and after the pause."""

    before: int
    peak: int
    after: int

    def figures(self, calls: int) -> dict[str, float]:
        """In KB a call and MiB in all."""
        taken = self.peak - self.before
        return {
            "kb_per_call": round(taken / calls / KB, 1),
            "before_mib": round(self.before / MIB, 1),
            "peak_mib": round(self.peak / MIB, 1),
            "after_mib": round(self.after / MIB, 1),
            "given_back": round((self.peak - self.after) / taken, 3) if taken > 0 else 1.0,
        }


def lost(sent: int, heard: int, answered: int, refused: int) -> int:
    """Calls without an end, or with one that nobody can account for.

    `heard`: ended for their caller. `answered`: distinct ids on Kafka. `refused`: ended by the gateway with a status.
    """
    return max(0, sent - heard) + max(0, heard - answered - refused)


def slope(seen: Sequence[tuple[float, float]]) -> float:
    """The slope of the straight line through (x, y), by least squares; the first fifth is warmth and left out."""
    x, y = np.array(seen[len(seen) // 5 :]).T
    return float(np.polyfit(x, y, 1)[0])


def goals(held: dict[str, Any], burst: dict[str, Any], calls: int, soak: dict[str, Any] | None) -> dict[str, Goal]:
    """What was wanted beside what was found. What the run can't tell is left out."""
    wanted = {
        "calls open at once": at_least(calls, held["open_at_most"]),
        "KB of gateway memory a call": at_most(35, held["memory"]["kb_per_call"]),
        "lost of those held": at_most(0, held["lost"]),
        "calls of the burst a second": at_least(4_000, burst["calls_per_s"]),
        "lost of the burst": at_most(0, burst["lost"]),
    }
    if calls >= CALLS_THAT_TELL:
        wanted["share of the memory that is free again"] = at_least(GIVEN_BACK, held["memory"]["given_back"])
    if soak is not None:
        wanted["bytes that memory grows by a call"] = at_most(BYTES_A_CALL, soak["bytes_per_call"])
        wanted["lost of the soak"] = at_most(0, soak["lost"])
    return wanted
