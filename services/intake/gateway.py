"""The gateway as the intake calls it; gRPC's statuses become fates here."""

from collections.abc import Mapping
from typing import Final

import grpc

from protos import inference_pb2 as inference
from protos import inference_pb2_grpc as inference_grpc
from services import client
from services.errors import BadEvent, Overloaded
from services.settings import GatewayAccess
from services.tasks import Task

ORIGIN: Final = ("x-tutelage-origin", "kafka")
REFUSED: Final = frozenset(
    {
        *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED),
        grpc.StatusCode.FAILED_PRECONDITION,  # It was answered, each time not as it must be.
    }
)
PASSING: Final = frozenset(
    {
        *(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED),
        grpc.StatusCode.UNAUTHENTICATED,  # Of ours, not of the request's: it waits until GATEWAY_API_KEY is a good one.
    }
)


class DeadlinePassed(Overloaded):
    """The task's latency budget was too short this time; the gateway has recorded the exchange as failed."""


class Gateway:
    """One channel to the gateway. To be made and used inside one event loop."""

    def __init__(self, access: GatewayAccess, tasks: Mapping[str, Task], timeout_s: float) -> None:
        # Reconnect within a second: gRPC would wait up to two minutes behind a restarted gateway.
        self._channel = client.channel(access, ("grpc.max_reconnect_backoff_ms", 1000))
        self._complete = inference_grpc.InferenceStub(self._channel).Complete
        self._metadata = (ORIGIN, *client.bearer(access))
        self._tasks = tasks
        self._timeout_s = timeout_s

    async def answer(self, request: inference.Request) -> inference.Reply:
        """The reply. Raises BadEvent if the request can never be answered, Overloaded if not now.

        UNAVAILABLE is also what no backend at all says: the teacher's outage is waited out. INTERNAL is a bug of the
        gateway and goes up, as whatever else does.
        """
        task = self._tasks.get(request.task)
        timeout_s = task.latency_budget_ms / 1000 if task else self._timeout_s
        try:
            reply: inference.Reply = await self._complete(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            said = f"{error.code().name}: {error.details()}"
            if error.code() in REFUSED:
                raise BadEvent(said) from error
            if error.code() in PASSING:
                raise Overloaded(said) from error
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlinePassed(said) from error
            raise
        return reply

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()
