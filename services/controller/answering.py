"""Our exceptions as gRPC's status codes."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from services.controller.checks import Rejected
from services.controller.errors import Refused
from services.errors import Overloaded

Answer = TypeVar("Answer")
Method = Callable[[Any, Any, Any], Awaitable[Answer]]


def answered(method: Method[Answer]) -> Method[Answer]:
    """A method of a service that may raise Rejected, Refused or Overloaded."""

    @functools.wraps(method)
    async def answer(self: Any, request: Any, context: Any) -> Answer:
        try:
            return await method(self, request, context)
        except Rejected as error:
            code, text = error.code, str(error)
        except Refused as error:
            code, text = grpc.StatusCode.FAILED_PRECONDITION, str(error)
        except Overloaded as error:
            code, text = grpc.StatusCode.UNAVAILABLE, str(error)
        await context.abort(code, text)
        raise AssertionError("abort raises")

    return answer
