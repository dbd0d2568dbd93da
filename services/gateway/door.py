"""The way in: how many calls are open, and which status code each error becomes. Texts say what to change."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import grpc
from prometheus_client import Counter

from protos import events_pb2 as events
from services import telemetry
from services.gateway.answering import NoAnswer
from services.gateway.backends import FailureKind
from services.gateway.fields import BadInput, UnknownTask
from services.gateway.spool import SpoolFull

DETAILS_CHARS: Final = 2_000
"""gRPC carries the text in a header, and clients refuse long ones."""
REFUSED = Counter("tutelage_refused_calls_total", "Calls that end with an error status.", ("method", "code"))


class TooManyCalls(Exception):  # noqa: N818
    """The gateway holds as many open calls as it may."""


def status(error: Exception) -> grpc.StatusCode:
    """The status code that tells a caller what kind of thing happened."""
    match error:
        case BadInput():
            return grpc.StatusCode.INVALID_ARGUMENT
        case UnknownTask():
            return grpc.StatusCode.NOT_FOUND
        case NoAnswer(outcome=events.OUTCOME_DEADLINE_EXCEEDED):
            return grpc.StatusCode.DEADLINE_EXCEEDED
        case NoAnswer(kind=FailureKind.REFUSED):
            return grpc.StatusCode.INVALID_ARGUMENT
        case NoAnswer():
            return grpc.StatusCode.UNAVAILABLE
        case _:
            return grpc.StatusCode.RESOURCE_EXHAUSTED


class Door:
    """Counts the open calls of all methods, and ends each one that fails with its status."""

    def __init__(self, max_open_calls: int) -> None:
        self._max_open_calls = max_open_calls
        self.open_calls = 0

    @asynccontextmanager
    async def call(self, method: str, context: Any) -> AsyncIterator[None]:
        """One call from its arrival to its end; `context` is gRPC's."""
        try:
            with self._place():
                yield
        except (BadInput, UnknownTask, NoAnswer, SpoolFull, TooManyCalls) as error:
            REFUSED.labels(method, status(error).name).inc()
            await context.abort(status(error), str(error)[:DETAILS_CHARS])
        except Exception:  # noqa: BLE001 - the end of the line: it is logged, and the caller told INTERNAL
            # gRPC would tell the caller the exception's text, which may hold anything.
            telemetry.log.exception("a call failed by the gateway's own fault", method=method)
            REFUSED.labels(method, grpc.StatusCode.INTERNAL.name).inc()
            await context.abort(grpc.StatusCode.INTERNAL, "the gateway is at fault; its log says why")

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self.open_calls >= self._max_open_calls:
            raise TooManyCalls(f"{self.open_calls} calls are open, the limit of this gateway: try again later")
        self.open_calls += 1
        telemetry.OPEN_CALLS.set(self.open_calls)
        try:
            yield
        finally:
            self.open_calls -= 1
            telemetry.OPEN_CALLS.set(self.open_calls)
