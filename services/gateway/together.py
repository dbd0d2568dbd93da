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
    error: Exception | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Together(Generic[Key, Made]):
    """Whoever comes first makes it, and those who come meanwhile wait for that.

    Where the maker is cancelled, or fails of what is its own alone, one of those that wait takes its place. If they
    would fail as it did, they do at once: in turn, they would wait for as many failures as there are before them.
    """

    def __init__(self, for_all: Callable[[Exception], Exception | None] = lambda _error: None) -> None:
        """`for_all`: what an error of the maker's is for each of those that wait, None where it is its own alone."""
        self._for_all = for_all
        self._running: dict[Key, _Making[Made]] = {}

    async def once(
        self, key: Key, make: Callable[[], Awaitable[Made]], patience_s: Callable[[], float | None] = lambda: None
    ) -> tuple[Made, bool]:
        """What `make` gives, or another's `make` gave; and whether it was another's.

        Raises TimeoutError where another was waited for longer than `patience_s`, whatever `make` raises, and
        what another's raised if that is for all.
        """
        while (running := self._running.get(key)) is not None:
            async with asyncio.timeout(patience_s()):
                await running.ended.wait()
            if running.made is not None:
                return running.made, True
            if running.error is not None and (shared := self._for_all(running.error)) is not None:
                raise shared from running.error
        making = self._running[key] = _Making()
        try:
            made = making.made = await make()
        except Exception as error:
            making.error = error
            raise
        else:
            return made, False
        finally:
            del self._running[key]
            making.ended.set()
