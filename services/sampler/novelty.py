"""Novelty: questions unlike any that a worker remembers, by the distance of their embeddings.

Only for tasks that ask for it. What is near to nothing that is remembered is novel, and is remembered from then on. So
one of each sort of question is kept, in bounded memory, and a question that many ask is novel once. It is not on the
changelog: a new worker learns anew what is novel. An embedding costs some milliseconds, a hundred times as much as all
else that is done with an event, so they are made for a whole batch at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protos import events_pb2 as events
from services.tasks import Task, question

NOVEL: Final = "novel"
MOST: Final = 4_096
"""Questions remembered of a task, 1.5 KB each; the oldest is forgotten first."""
Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts into vectors of length 1: [texts, width]."""


class Novelties:
    """Of all tasks of one worker."""

    def __init__(self, tasks: Mapping[str, Task], most: int = MOST) -> None:
        """Raises ValueError if a task's embedder can't be loaded."""
        asking = {task.name: task.sampling.novelty for task in tasks.values() if task.sampling.novelty.embedder}
        self._embed = {name: _loaded(rule.embedder) for name, rule in asking.items()}
        self._known = {name: _Known(rule.similarity, most) for name, rule in asking.items()}
        self._ahead: dict[tuple[str, str], Floats] = {}

    def look_ahead(self, exchanges: Iterable[events.Exchange]) -> None:
        """Embed the questions of a batch together. What the last batch's were is forgotten."""
        self._ahead = {}
        if not self._embed:
            return
        texts: dict[str, dict[str, None]] = {name: {} for name in self._embed}
        for exchange in exchanges:
            if exchange.request.task in texts:
                texts[exchange.request.task][question(exchange.request)] = None
        for name, asked in texts.items():
            vectors = self._embed[name](list(asked)) if asked else ()
            self._ahead |= {(name, text): vector for text, vector in zip(asked, vectors, strict=True)}

    def is_novel(self, exchange: events.Exchange) -> bool:
        """Whether nothing like its question is remembered; always false where its task does not ask."""
        name = exchange.request.task
        if name not in self._embed:
            return False
        text = question(exchange.request)
        vector = self._ahead.get((name, text))
        return self._known[name].is_new(exchange.id, self._embed[name]([text])[0] if vector is None else vector)


class _Known:
    """Vectors that were new when they came, the last so many."""

    def __init__(self, similarity: float, most: int) -> None:
        self._similarity, self._most = similarity, most
        self._vectors: Floats = np.zeros((0, 0), dtype=np.float32)  # [most, width]
        self._owners: list[str] = []
        self._next = 0

    def is_new(self, owner: str, vector: Floats) -> bool:
        """Whether no vector of another owner is as near as asked for; if so it is kept. `owner` may come again."""
        if not self._vectors.size:
            self._vectors = np.zeros((self._most, len(vector)), dtype=np.float32)
        near = np.flatnonzero(self._vectors[: len(self._owners)] @ vector >= self._similarity)
        if any(self._owners[place] != owner for place in near):
            return False
        if not len(near):
            self._keep(owner, vector)
        return True

    def _keep(self, owner: str, vector: Floats) -> None:
        if len(self._owners) < self._most:
            self._owners.append(owner)
        self._owners[self._next], self._vectors[self._next] = owner, vector
        self._next = (self._next + 1) % self._most


def _loaded(name: str) -> Embed:
    module, _, function = name.partition(":")
    try:
        made: Embed = getattr(import_module(module), function)()
    except (ImportError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"sampling.novelty.embedder: {name} can't be loaded: {error}") from error
    return made
