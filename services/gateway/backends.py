"""The seam between the gateway and whoever answers: the teacher's API and the student in Triton.

A backend is asked with an `Ask` and gives an `events.Attempt` that holds what only it knows: message, finish, usage,
model, student_version and confidence. Latency, cost and whether the answer is kept are the gateway's to add.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Protocol

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import Task


def never() -> bool:
    """Of an ask whose end tells nothing of the backend."""
    return False


def student_model(task: str, version: int) -> str:
    """What a student is called in replies, spans and metrics: the model's name in Triton and its version."""
    return f"{task}/{version}"


OnText = Callable[[str], None]
"""Takes each piece of the answer's text as it comes. Together the pieces are the message's content."""


class FailureKind(StrEnum):
    """Whose fault it is that a backend gave no answer, and so what the caller can do."""

    UNAVAILABLE = "unavailable"  # Away, overloaded or broken: the same request may succeed later or elsewhere.
    TIMEOUT = "timeout"  # Too slow for its budget.
    REFUSED = "refused"  # The request itself is at fault: the same request fails again.
    MISSED = "missed"  # It answered, but not what may be kept: the same request most likely misses again.


class BackendFailed(Exception):  # noqa: N818 - it says what happened
    """There is no answer. The text is for people and holds no secret."""

    def __init__(self, kind: FailureKind, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.retry_after_s = retry_after_s
        """When it may be worth while to ask it again, as it says itself or as its failure tells; None where neither."""


class Ask(NamedTuple):
    """One question to one backend. `timeout_s` is what is left of its budget, to be passed on.

    `partial` is the beginning of an answer that another backend has given and broken off, '' for none: the answer goes
    on from there, and holds it. It is given to backends that say they resume, and to no other. `is_slow` tells, while
    the answer is being cancelled, whether that is because the backend was too slow: its caller may have gone, too, or
    have left it no time, or another one was quicker.
    """

    task: Task
    request: inference.Request
    exchange_id: str
    student_version: int
    timeout_s: float
    partial: str = ""
    is_slow: Callable[[], bool] = never


class Backend(Protocol):
    """Whoever answers."""

    @property
    def resumes(self) -> bool:
        """Whether it can go on from the beginning of another's answer."""

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        """The whole answer; its text is also handed to `on_text` piece by piece where that is given.

        Raises BackendFailed, and nothing else but bugs. Cancelling it stops the work at the backend, too. It need not
        stop by itself when `ask.timeout_s` has passed: whoever calls it does that.
        """

    async def close(self) -> None:
        """Let go of the connections."""
