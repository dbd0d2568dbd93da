"""Memory that calls took goes back to the system when they have ended, which C's allocator does not do by itself."""

import asyncio
import ctypes
import gc
from collections.abc import Callable
from typing import Final

LOOK_EVERY_S: Final = 5.0
WORTH_CALLS: Final = 5_000
"""Of as many fewer than at most it is worth the while: some 100 MB."""
LOOKS: Final = 6
"""At each of so many looks after a crowd has gone: what it leaves for Kafka and the disk goes later than its calls."""


class Trimming:
    """Looks now and then how many calls are open."""

    def __init__(self, open_calls: Callable[[], int]) -> None:
        self._open_calls = open_calls
        self._most = 0
        self._looks = 0

    def is_due(self) -> bool:
        """Whether memory should be given back at this look: far fewer calls are open than there were."""
        now = self._open_calls()
        self._most = max(self._most, now)
        if self._most - now >= WORTH_CALLS and now < self._most / 2:
            self._most, self._looks = now, LOOKS
        self._looks -= 1
        return self._looks >= 0

    async def go_on(self, trim: Callable[[], None]) -> None:
        """Until it is cancelled; `trim` in a thread, as it takes a while."""
        while True:
            if self.is_due():
                await asyncio.to_thread(trim)
            await asyncio.sleep(LOOK_EVERY_S)


def trim() -> None:
    """Have glibc give back what it holds free; with another C library nothing happens.

    First what waits for the garbage collector, such as closed connections: little, but each keeps a mebibyte in use.
    """
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
