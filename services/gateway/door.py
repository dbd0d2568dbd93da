"""The way in: how many calls are open, and which status code each error becomes. Texts say what to change."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
from prometheus_client import Counter

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from protos.inference_pb2 import Priority
from services import telemetry
from services.gateway.allowances import OverQuota
from services.gateway.answering import NoAnswer
from services.gateway.backends import FailureKind
from services.gateway.fields import BadInput, BegunOtherwise, UnknownTask
from services.gateway.held import Held, TooMuchHeld
from services.gateway.hints import trailers
from services.gateway.keys import KeysUnread, NotAllowed, Unauthenticated
from services.gateway.shedding import TooLate, TooManyCalls, places
from services.gateway.spool import SpoolFull

DETAILS_CHARS: Final = 2_000
"""gRPC carries the text in a header, and clients refuse long ones."""
REFUSED = Counter("tutelage_refused_calls_total", "Calls that end with an error status.", ("method", "code"))


class Stopping(Exception):  # noqa: N818
    """The gateway takes no more calls, or had no more time for this one."""

    retry_after_s = 0.0


T = TypeVar("T")
NORMAL: Final = inference.PRIORITY_UNSPECIFIED
STATUSES: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownTask: grpc.StatusCode.NOT_FOUND,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    KeysUnread: grpc.StatusCode.UNAVAILABLE,
    OverQuota: grpc.StatusCode.RESOURCE_EXHAUSTED,
    SpoolFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooLate: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyCalls: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooMuchHeld: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BegunOtherwise: grpc.StatusCode.ABORTED,
    Stopping: grpc.StatusCode.UNAVAILABLE,
}
"""What a call may end with, but for NoAnswer, as gRPC says it; how HTTP says the same follows from it, in
`http_reply.ERRORS`. Everything else is the gateway's own fault. Those that it may be worth while to try again have
`retry_after_s`."""


class Refusal(Exception):  # noqa: N818
    """How a call ends that has no answer, for its caller: a status code, a text, and perhaps when to come again."""

    def __init__(self, code: grpc.StatusCode, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text[:DETAILS_CHARS])
        self.code = code
        self.retry_after_s = retry_after_s


def status(error: Exception) -> grpc.StatusCode:
    """The status code that tells a caller what kind of thing happened."""
    match error:
        case NoAnswer(outcome=events.OUTCOME_DEADLINE_EXCEEDED):
            return grpc.StatusCode.DEADLINE_EXCEEDED
        case NoAnswer(kind=FailureKind.REFUSED):
            return grpc.StatusCode.INVALID_ARGUMENT
        case NoAnswer(kind=FailureKind.MISSED):
            return grpc.StatusCode.FAILED_PRECONDITION
        case NoAnswer():
            return grpc.StatusCode.UNAVAILABLE
    return STATUSES.get(type(error), grpc.StatusCode.INTERNAL)


def refused(method: str, error: Exception) -> Refusal:
    """The error as its caller is told it. A fault of our own is logged, and its text, which may hold anything, kept."""
    code, text = status(error), str(error)
    if code is grpc.StatusCode.INTERNAL:
        telemetry.log.exception("a call failed by the gateway's own fault", method=method)
        text = "the gateway is at fault; its log says why"
    REFUSED.labels(method, code.name).inc()
    return Refusal(code, text, getattr(error, "retry_after_s", None))


class Door:
    """Counts the open calls of all methods, ends each one that fails with its status, and closes when it is told."""

    def __init__(self, max_open_calls: int, connections_most: int = sys.maxsize) -> None:
        self.held = Held(connections_most=connections_most)
        self._places = places(max_open_calls)
        self._open: set[asyncio.Task[Any] | None] = set()
        self._left = asyncio.Event()
        self._closed = False
        self.turned_out = False
        """Whether the calls that were still open have been ended, because the gateway stops."""
        telemetry.OPEN_CALLS.set_function(lambda: float(self.open_calls))

    @property
    def open_calls(self) -> int:
        """How many there are now."""
        return len(self._open)

    async def close(self, grace_s: float) -> None:
        """Let nobody in from now on; return when all have left, who may take `grace_s` and are then turned out."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                await self._emptied()
        except TimeoutError:
            self._turn_out()
            await self._emptied()

    def _turn_out(self) -> None:
        """End what is open; once, though gRPC and HTTP both close the door that they share."""
        if self.turned_out:
            return
        self.turned_out = True
        telemetry.log.warning("calls are cut short: the grace is over", calls=self.open_calls)
        for task in self._open:
            task and task.cancel()

    async def _emptied(self) -> None:
        while self._open:
            self._left.clear()
            await self._left.wait()

    async def call(
        self, method: str, context: Any, answer: Callable[..., Awaitable[T]], *given: Any, priority: Priority = NORMAL
    ) -> T:
        """What `answer(*given)` returns: one call from its arrival to its end; `context` is gRPC's."""
        try:
            return await self.visit(method, answer, *given, priority=priority)
        except Refusal as refusal:
            text = str(refusal)
            left_s = context.time_remaining()
            await context.abort(refusal.code, text, trailers(refusal.code, text, refusal.retry_after_s, left_s))
        raise AssertionError  # The call has been aborted.

    async def visit(
        self, method: str, answer: Callable[..., Awaitable[T]], *given: Any, priority: Priority = NORMAL
    ) -> T:
        """The same for whoever is no gRPC call. Raises Refusal, whatever it is that the call failed of."""
        try:
            with self.place(priority):
                return await answer(*given)
        except Exception as error:
            raise refused(method, error) from error

    def place(self, priority: Priority = NORMAL) -> "Place":
        """A place for the call that this task is, to be held `with`; entering raises TooManyCalls or Stopping."""
        return Place(self, priority)

    def enter(self, priority: Priority) -> "asyncio.Task[Any] | None":
        """Let a call in; `Place` does."""
        if self._closed:
            raise Stopping("the gateway stops and takes no more calls: try again, another one will answer")
        limit = self._places.get(priority) or self._places[NORMAL]
        if len(self._open) >= limit:
            of = "" if priority == inference.PRIORITY_HIGH else " for calls of no higher priority"
            raise TooManyCalls(f"{self.open_calls} calls are open, the limit of this gateway{of}: try again later")
        self._open.add(task := asyncio.current_task())
        return task

    def leave(self, task: "asyncio.Task[Any] | None") -> None:
        """Let it out."""
        self._open.discard(task)
        if self._closed:
            self._left.set()


class Place:
    """An open call's place. A class, as two generators and a timer cost a call a tenth of its processor time."""

    __slots__ = ("_door", "_priority", "_task")

    def __init__(self, door: Door, priority: Priority) -> None:
        self._door = door
        self._priority = priority

    def __enter__(self) -> None:
        self._task = self._door.enter(self._priority)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._door.leave(self._task)
        if kind is asyncio.CancelledError and self._door.turned_out and self._task:
            self._task.uncancel()
            raise Stopping("the gateway stops before there was an answer: try again, another one will") from error
