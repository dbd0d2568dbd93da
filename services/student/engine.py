"""The seam between Triton and whatever answers. Above it there is text, below it there are token ids.

An encoder does not write tokens, it reads the prompt's text and has an answer: its deltas carry the text itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.errors import Overloaded


class Finish(StrEnum):
    """Why an answer ended, as it stands on the wire."""

    GOING_ON = ""
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to generate from. `id` is unique among the requests that an engine has."""

    id: int
    token_ids: tuple[int, ...]  # at least one
    max_tokens: int
    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    seed: int = 0
    text: str = ""  # what the token ids were made from


@dataclass(frozen=True, slots=True)
class Delta:
    """What was generated since the previous one. The last has a `finish` or an `error`, never both."""

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # one per token, 0 or less
    finish: Finish = Finish.GOING_ON
    error: str = ""
    text: str | None = None  # of an encoder, whose token ids only count

    @property
    def last(self) -> bool:
        return bool(self.finish or self.error)


Emit = Callable[[Delta], None]
"""Called by the engine's one thread, in order; must be quick and must not raise."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests an engine has: with a place, and without."""

    running: int
    waiting: int


class Engine(Protocol):
    """Generates for many requests at once. Its methods may be called from any thread."""

    def submit(self, prompt: Prompt, emit: Emit) -> None:
        """Takes the request and returns at once; Overloaded if too many wait."""

    def cancel(self, prompt_id: int) -> None:
        """The request ends soon with Finish.CANCELLED and its place is free; unknown ids are no error."""

    def load(self) -> Load:
        """What it has at this moment."""

    def close(self) -> None:
        """Cancels all requests and ends the thread. Nothing may be submitted after it."""


def check_room(present: int, max_running: int, max_waiting: int) -> None:
    """Raises Overloaded if one more than the `present` requests, running and waiting, would be too many."""
    waiting = max(0, present - max_running)
    if present >= max_running + max_waiting:
        raise Overloaded(f"overloaded: {waiting} requests waiting; limit {max_waiting}")
