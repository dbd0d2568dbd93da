"""Memory that calls took goes back to the system when they have ended, which C's allocator does not do by itself."""

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

LOOK_EVERY_S: Final = 5.0
WORTH_CALLS: Final = 5_000
"""Of as many fewer than at most it is worth the while: some 100 MB, for a pause of some ten milliseconds."""


class Trimming:
    """Looks now and then how many calls are open."""

    def __init__(self, open_calls: Callable[[], int], trim: Callable[[], None]) -> None:
        self._open_calls = open_calls
        self._trim = trim
        self._most = 0

    def look(self) -> None:
        """Trim if far fewer calls are open than there were."""
        now = self._open_calls()
        self._most = max(self._most, now)
        if self._most - now >= WORTH_CALLS and now < self._most / 2:
            self._trim()
            self._most = now

    async def go_on(self) -> None:
        """Until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)


def trim() -> None:
    """Have glibc give back what it holds free; with another C library nothing happens."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
