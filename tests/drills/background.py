"""An event loop in a thread of its own: callers, teacher and faulty links go on while the drill kills things."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any, Final, TypeVar

ENDS_WITHIN_S: Final = 120.0

Value = TypeVar("Value")


class Background:
    """Runs coroutines for a thread that does other things."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()

    def run(self, work: Coroutine[Any, Any, Value], within_s: float = ENDS_WITHIN_S) -> Value:
        """Wait for its result."""
        return self.begin(work).result(within_s)

    def keep(self, entered: AbstractAsyncContextManager[Value]) -> Value:
        """Enter a context that stays open until the end."""
        return self.run(self._stack.enter_async_context(entered))

    def begin(self, work: Coroutine[Any, Any, Value]) -> "Future[Value]":
        """Let it go on beside the drill."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def background() -> Iterator[Background]:
    """A loop for as long as the context is open."""
    made = Background()
    try:
        yield made
    finally:
        made.close()
