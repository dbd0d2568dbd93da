"""Collects what an engine emits for one request."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from services.student.engine import Delta, Engine, Finish

Build = Callable[..., AbstractContextManager[Engine]]
"""`build(eos_token_ids=(2,), **settings)` makes an engine that is closed at the end."""

WAIT_S = 60.0


class Collector:
    """Is an `Emit`. `wait` returns the deltas up to the last one."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.begun = threading.Event()
        self._ended = threading.Event()

    def __call__(self, delta: Delta) -> None:
        assert not self._ended.is_set(), "a delta after the last one"
        self.deltas.append(delta)
        self.begun.set()
        if delta.last:
            self._ended.set()

    def wait(self) -> "Collector":
        assert self._ended.wait(WAIT_S), "the request did not end"
        return self

    @property
    def token_ids(self) -> list[int]:
        return [token_id for delta in self.deltas for token_id in delta.token_ids]

    @property
    def logprobs(self) -> list[float]:
        return [logprob for delta in self.deltas for logprob in delta.logprobs]

    @property
    def text(self) -> str:
        return "".join(delta.text or "" for delta in self.deltas)

    @property
    def finish(self) -> Finish:
        return self.deltas[-1].finish

    @property
    def error(self) -> str:
        return self.deltas[-1].error


Collectors = Mapping[int, Collector]
