"""A Triton in this process: the real gRPC server, speaking ModelStreamInfer, whose answers the test scripts."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

Responses = asyncio.Queue["pb.ModelStreamInferResponse | None"]


def texts(*elements: str) -> bytes:
    return b"".join(struct.pack("<I", len(element.encode())) + element.encode() for element in elements)


def piece(request_id: str, text: str, finish: str = "", tokens: int = 1) -> "pb.ModelStreamInferResponse":
    """A response of a student; the last one if it has a finish."""
    answer = pb.ModelInferResponse(id=request_id)
    tensors = {
        "text_output": texts(text),
        "logprobs": struct.pack("<2f", -0.25, -0.5),
        "finish_reason": texts(finish),
        "prompt_tokens": struct.pack("<i", 7),
        "completion_tokens": struct.pack("<i", tokens),
    }
    for name, raw in tensors.items():
        answer.outputs.add(name=name, shape=[1])
        answer.raw_output_contents.append(raw)
    answer.parameters["triton_final_response"].bool_param = bool(finish)
    return pb.ModelStreamInferResponse(infer_response=answer)


def error(request_id: str, message: str) -> "pb.ModelStreamInferResponse":
    return pb.ModelStreamInferResponse(error_message=message, infer_response=pb.ModelInferResponse(id=request_id))


def inputs(request: "pb.ModelInferRequest") -> dict[str, bytes]:
    """Each input's bytes by its name; of texts without their length."""
    raw = zip(request.inputs, request.raw_input_contents, strict=True)
    return {tensor.name: value[4:] if tensor.datatype == "BYTES" else value for tensor, value in raw}


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Keeps each request, and answers at once with its prompt where `answers` is set. Else the test does."""

    address: str = ""
    server: Any = None
    answers: bool = True
    fails: str = ""
    requests: list["pb.ModelInferRequest"] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    streams: list[Responses] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> AsyncIterator["pb.ModelStreamInferResponse"]:
        out: Responses = asyncio.Queue()
        self.streams.append(out)
        reading = asyncio.create_task(self._read(requests, out))
        try:
            while (response := await out.get()) is not None:
                yield response
        finally:
            reading.cancel()

    async def _read(self, requests: Any, out: Responses) -> None:
        async for request in requests:
            given = inputs(request)
            if "cancel" in given:
                self.cancelled.append(given["cancel"].decode())
            else:
                self.requests.append(request)
                self._answer(request, given, out)
            async with self.came:
                self.came.notify_all()
        out.put_nowait(None)

    def _answer(self, request: "pb.ModelInferRequest", given: dict[str, bytes], out: Responses) -> None:
        if self.fails:
            out.put_nowait(error(request.id, self.fails))
        elif self.answers:
            out.put_nowait(piece(request.id, given["text_input"].decode().strip(), "stop"))

    def say(self, *responses: "pb.ModelStreamInferResponse") -> None:
        """On the newest stream."""
        for response in responses:
            self.streams[-1].put_nowait(response)

    def break_off(self) -> None:
        """End the newest stream."""
        self.streams[-1].put_nowait(None)

    async def until(self, requests: int = 0, cancelled: int = 0) -> list["pb.ModelInferRequest"]:
        """All requests, once there are so many, and so many cancellings."""
        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(lambda: len(self.requests) >= requests and len(self.cancelled) >= cancelled)
        return self.requests


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[FakeTriton]:
    """On loopback, until the end."""
    server = grpc.aio.server()
    fake = FakeTriton(server=server)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(0)
