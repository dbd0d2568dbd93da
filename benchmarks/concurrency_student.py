"""The student of benchmarks.concurrency: a server that speaks Triton's ModelStreamInfer and answers when it is time.

`python -m benchmarks.concurrency_student PORT HOLD_S`. A call of model `held` is answered HOLD_S seconds after it came,
one of another model at once. A stream may carry one call or many, told apart by their ids. The server is the gateway's
own: grpc.aio's would take as much of the machine as the gateway that is measured.
"""

import asyncio
import signal
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as triton
from tritonclient.grpc import service_pb2_grpc

from benchmarks.gateway_request import ANSWER, HELD
from services.gateway.grpc_server import GrpcServer

MESSAGE_MOST: Final = 1024**2
STREAMS_MOST: Final = 1_000
OUTPUTS: Final[dict[str, tuple[str, bytes]]] = {
    "text_output": ("BYTES", struct.pack("<I", len(ANSWER)) + ANSWER.encode()),
    "logprobs": ("FP32", struct.pack("<f", -0.01)),
    "finish_reason": ("BYTES", struct.pack("<I", 4) + b"stop"),
    "prompt_tokens": ("INT32", struct.pack("<i", 30)),
    "completion_tokens": ("INT32", struct.pack("<i", 40)),
}


def answer() -> Any:
    """A whole answer but for the id that it is for."""
    made = triton.ModelStreamInferResponse()
    made.infer_response.parameters["triton_final_response"].bool_param = True
    for name, (datatype, raw) in OUTPUTS.items():
        made.infer_response.outputs.add(name=name, datatype=datatype, shape=[1])
        made.infer_response.raw_output_contents.append(raw)
    return made


class Student(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Of the service, the one method that the gateway calls."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._made = answer()

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ARG002
        due: asyncio.Queue[str | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(requests, due))
        while (request_id := await due.get()) is not None:
            self._made.infer_response.id = request_id
            yield self._made
        await reading

    async def _read(self, requests: AsyncIterator[Any], due: "asyncio.Queue[str | None]") -> None:
        """Put each call's id into `due` when its time has come; None behind the last."""
        loop, held = asyncio.get_running_loop(), False
        async for request in requests:
            if request.model_name == HELD:
                held = True
                loop.call_later(self._hold_s, due.put_nowait, request.id)
            else:
                due.put_nowait(request.id)
        loop.call_later(self._hold_s if held else 0, due.put_nowait, None)


async def serve(port: int, student: Student) -> None:
    """Serve it, and health, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server, healthy = GrpcServer(message_most=MESSAGE_MOST, streams_most=STREAMS_MOST), health.aio.HealthServicer()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(student, server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.listen(f"127.0.0.1:{port}", None, reuse_port=False)
    await stopped.wait()
    await server.close(0)


def main() -> None:
    """Until SIGTERM."""
    uvloop.run(serve(int(sys.argv[1]), Student(float(sys.argv[2]))))


if __name__ == "__main__":
    main()
