"""Who watches what serves the tasks, and is told of every change as it is decided.

A watcher that is slow misses what was overtaken meanwhile, and never holds more than one promotion a task in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from protos import events_pb2 as events


class Watch:
    """One watcher's news: iterate over it until the watching ends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news: dict[str, events.Promotion] = {}
        self._came = asyncio.Event()
        self._ended = False

    def tell(self, promotion: events.Promotion) -> None:
        """From any thread: take the place of what is not read yet."""
        self._loop.call_soon_threadsafe(self._take, promotion)

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._came.set()

    def _take(self, promotion: events.Promotion) -> None:
        self._news[promotion.task] = promotion
        self._came.set()

    async def __aiter__(self) -> AsyncIterator[events.Promotion]:
        while not self._ended:
            await self._came.wait()
            self._came.clear()
            news, self._news = self._news, {}
            for promotion in news.values():
                yield promotion


class Watchers:
    """All who watch now."""

    def __init__(self) -> None:
        self._open: set[Watch] = set()

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """From here on every change is told."""
        watch = Watch()
        self._open.add(watch)
        try:
            yield watch
        finally:
            self._open.discard(watch)

    def tell(self, promotion: events.Promotion) -> None:
        """From any thread."""
        for watch in list(self._open):
            watch.tell(promotion)

    def close(self) -> None:
        """End all of them, so that a server which stops need not wait for those who would watch for ever."""
        for watch in self._open:
            watch.end()
