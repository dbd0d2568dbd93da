"""The gRPC server: its options, its services, and how it starts and stops."""

import asyncio
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos import control_pb2, control_pb2_grpc, inference_pb2, inference_pb2_grpc
from services.gateway.door import Door
from services.gateway.servicer import FeedbackServicer, InferenceServicer
from services.gateway.settings import GatewaySettings
from services.tls import listen

SERVICES: Final = (
    inference_pb2.DESCRIPTOR.services_by_name["Inference"].full_name,
    control_pb2.DESCRIPTOR.services_by_name["Feedback"].full_name,
)
# gRPC sheds bursts by itself: of 20,000 calls opened at once it cancels a quarter with its defaults, and says nothing.
# So its own limits stand well above ours, which refuses with a reason. 300 s: what a call may wait for its handler.
PENDING_PER_OPEN_CALL: Final = 2
UNREQUESTED_S: Final = 300
LAST_WORDS_S: Final = 2.0
"""For the statuses of the last calls to go out. gRPC itself ends whatever is left with CANCELLED, which says that the
caller cancelled, so it comes after the door."""


class Server:
    """Serves until `stop`. Health is SERVING from `start` on and NOT_SERVING as soon as the stop begins."""

    def __init__(
        self,
        settings: GatewaySettings,
        inference_servicer: InferenceServicer,
        feedback_servicer: FeedbackServicer,
        door: Door,
    ) -> None:
        self._server = grpc.aio.server(options=_options(settings))
        self._health = health.aio.HealthServicer()
        inference_pb2_grpc.add_InferenceServicer_to_server(inference_servicer, self._server)
        control_pb2_grpc.add_FeedbackServicer_to_server(feedback_servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._door = door
        self._listen = settings.gateway_listen
        self._tls = settings.tls
        self._grace_s = settings.shutdown_grace_s

    async def start(self) -> int:
        """Begin to serve; returns the port.

        Raises OSError naming the address if it can't be had, ValueError naming a TLS file that is no good.
        """
        try:
            port = listen(self._server, self._listen, self._tls)
        except RuntimeError as error:
            raise OSError(f"GATEWAY_LISTEN={self._listen} can't be bound: is it in use?") from error
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self) -> None:
        """Take no more calls; return when the open ones have ended, by themselves or by the grace's end.

        Connections are told at once to take new calls elsewhere; whoever comes nevertheless is UNAVAILABLE.
        """
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(self._grace_s + LAST_WORDS_S))
        await self._door.close(self._grace_s)
        await self._server.stop(LAST_WORDS_S)
        await stopping


def _options(settings: GatewaySettings) -> list[tuple[str, Any]]:
    pending = settings.max_open_calls * PENDING_PER_OPEN_CALL
    return [
        ("grpc.so_reuseport", int(settings.reuse_port)),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_concurrent_streams", 2**31 - 1),
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", 2 * pending),
        ("grpc.server_max_unrequested_time_in_server", UNREQUESTED_S),
    ]
