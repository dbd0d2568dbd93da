"""Bare grpc.aio under uvloop: the gateway's own service with nothing behind it, which sets the floor for the gateway.

`python -m benchmarks.gateway_bare PORT HOLD_S PROCESSES` answers with the same reply as the gateway gives, calls of
task `held` after so many seconds.
"""

import asyncio
import multiprocessing
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from benchmarks.gateway_request import ANSWER, HELD, PIECES
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc

OPTIONS: Final = [
    ("grpc.so_reuseport", 1),
    ("grpc.max_concurrent_streams", 2**31 - 1),
    # Without these gRPC sheds bursts by itself.
    ("grpc.server.max_pending_requests", 240_000),
    ("grpc.server.max_pending_requests_hard_limit", 480_000),
    ("grpc.server_max_unrequested_time_in_server", 300),
]


class Echo(inference_pb2_grpc.InferenceServicer):
    """The same reply to everyone."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        message = inference.Message(role=inference.ROLE_ASSISTANT, content=ANSWER)
        self._reply = inference.Reply(exchange_id="0" * 36, message=message, model="gpt-4")

    async def Complete(self, request: inference.Request, context: Any) -> inference.Reply:  # noqa: ARG002
        if request.task == HELD:
            await asyncio.sleep(self._hold_s)
        return self._reply

    async def CompleteStream(self, request: inference.Request, context: Any) -> AsyncIterator[inference.Chunk]:  # noqa: ARG002
        for piece in PIECES:
            yield inference.Chunk(delta=piece)
        yield inference.Chunk(reply=self._reply)


async def serve(port: int, echo: Echo) -> None:
    """Serve it, and health, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server, healthy = grpc.aio.server(options=OPTIONS), health.aio.HealthServicer()
    inference_pb2_grpc.add_InferenceServicer_to_server(echo, server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    await stopped.wait()
    await server.stop(0)


def main() -> None:
    """All processes, of which the first starts the others and outlives none."""
    port, hold_s, processes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    spawned = multiprocessing.get_context("spawn")  # A fork would share what gRPC has begun.
    others = [spawned.Process(target=run, args=(port, hold_s), daemon=True) for _ in range(processes - 1)]
    for other in others:
        other.start()
    run(port, hold_s)


def run(port: int, hold_s: float) -> None:
    """One process."""
    uvloop.run(serve(port, Echo(hold_s)))


if __name__ == "__main__":
    main()
