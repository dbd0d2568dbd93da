"""Who may call the controller: with a token, with a certificate, or on loopback everybody."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

OPEN: Final = ("/grpc.health.", "/grpc.reflection.")
"""Services that tell nothing of the system's data."""


class Token(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets in calls that say `authorization: Bearer <token>`, and all that ask for health."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    async def intercept_service(
        self, go_on: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """The method's handler, or one that refuses."""
        if details.method.startswith(OPEN) or self._knows(details):
            return await go_on(details)
        return self._refusal

    def _knows(self, details: grpc.HandlerCallDetails) -> bool:
        told = (value for key, value in details.invocation_metadata if key == "authorization")
        return any(hmac.compare_digest(str(value).encode(), self._wanted) for value in told)


async def _refuse(_request: Any, context: Any) -> None:
    why = "authorization: the controller's token is missing or wrong; set CONTROL_TOKEN to the controller's own"
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, why)
