"""How many calls may ask a second backend while the first is still at it; pure."""

from typing import Final

from services.gateway.lately import Lately

HALF_S: Final = 30.0
"""The share is that of about the last minute."""
_CALLS, _HEDGES = range(2)


class HedgeBudget:
    """Counts one task's calls and hedges: of a backend that gets slow, hedges may not make two that are overloaded."""

    def __init__(self) -> None:
        self._lately = Lately(2, HALF_S)

    def called(self, now_s: float) -> None:
        """A call has come."""
        self._lately.add(_CALLS, now_s)

    def take(self, most: float, now_s: float) -> bool:
        """Whether one more hedge keeps them at `most` of the calls; it is then taken."""
        self._lately.turn(now_s)
        if self._lately.of(_HEDGES) + 1 > most * self._lately.of(_CALLS):
            return False
        self._lately.add(_HEDGES, now_s)
        return True
