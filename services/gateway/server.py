"""The gRPC door: its services, and how it starts and stops."""

from typing import Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server as add_reflection

from protos import control_pb2, control_pb2_grpc, inference_pb2, inference_pb2_grpc
from services.gateway.door import Door
from services.gateway.grpc_server import GrpcServer
from services.gateway.servicer import FeedbackServicer, InferenceServicer
from services.gateway.settings import GatewaySettings
from services.tls import context

SERVICES: Final = (
    inference_pb2.DESCRIPTOR.services_by_name["Inference"].full_name,
    control_pb2.DESCRIPTOR.services_by_name["Feedback"].full_name,
)
LAST_WORDS_S: Final = 2.0
"""For the statuses of the last calls to go out."""
STREAMS_PER_OPEN_CALL: Final = 2
"""The limit of open calls refuses with a reason; that of streams, which says nothing, stands above it."""


class Server:
    """Serves until `stop`. Health is SERVING from `start` on and NOT_SERVING as soon as the stop begins."""

    def __init__(
        self,
        settings: GatewaySettings,
        inference_servicer: InferenceServicer,
        feedback_servicer: FeedbackServicer,
        door: Door,
    ) -> None:
        """Raises ValueError naming a TLS file that is no good."""
        streams_most = settings.max_open_calls * STREAMS_PER_OPEN_CALL
        self._server = GrpcServer(
            message_most=settings.max_request_bytes,
            streams_most=streams_most,
            public=(health.SERVICE_NAME, reflection.SERVICE_NAME),
            judge=inference_servicer.judge,
            held=door.held,
        )
        self._health = health.aio.HealthServicer()
        inference_pb2_grpc.add_InferenceServicer_to_server(inference_servicer, self._server)
        control_pb2_grpc.add_FeedbackServicer_to_server(feedback_servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        named = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        add_reflection(reflection.aio.ReflectionServicer(named), self._server)
        self._door = door
        self._listen = settings.gateway_listen
        self._tls = context(settings.tls, ("h2",)) if settings.tls else None
        self._reuse_port = settings.reuse_port
        self._grace_s = settings.shutdown_grace_s

    async def start(self) -> int:
        """Begin to serve; returns the port. Raises OSError naming the address if it can't be had."""
        try:
            port = await self._server.listen(self._listen, self._tls, reuse_port=self._reuse_port)
        except OSError as error:
            raise OSError(f"GATEWAY_LISTEN={self._listen} can't be bound: is it in use?") from error
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self) -> None:
        """Take no more calls; return when the open ones have ended, by themselves or by the grace's end.

        Connections are told at once to take new calls elsewhere; whoever comes nevertheless is UNAVAILABLE.
        """
        await self._health.enter_graceful_shutdown()
        self._server.leave()
        await self._door.close(self._grace_s)
        await self._server.close(LAST_WORDS_S)
