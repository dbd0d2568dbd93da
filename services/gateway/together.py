"""What several want at the same time is made once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


@dataclass(slots=True)
class _Making(Generic[Made]):
    made: Made | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Together(Generic[Key, Made]):
    """Whoever comes first makes it, and those who come meanwhile wait for that.

    Where the maker fails or is cancelled, one of those that wait takes its place; its error is its own alone.
    """

    def __init__(self) -> None:
        self._running: dict[Key, _Making[Made]] = {}

    async def once(
        self, key: Key, make: Callable[[], Awaitable[Made]], patience_s: Callable[[], float | None] = lambda: None
    ) -> tuple[Made, bool]:
        """What `make` gives, or another's `make` gave; and whether it was another's.

        Raises TimeoutError where another was waited for longer than `patience_s`, and whatever `make` raises.
        """
        while (running := self._running.get(key)) is not None:
            async with asyncio.timeout(patience_s()):
                await running.ended.wait()
            if running.made is not None:
                return running.made, True
        making = self._running[key] = _Making()
        try:
            making.made = await make()
            return making.made, False
        finally:
            del self._running[key]
            making.ended.set()
