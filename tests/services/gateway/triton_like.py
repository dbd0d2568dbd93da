"""A small server that speaks Triton's ModelStreamInfer as a student does, and misbehaves as the test wants it to."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as triton
from tritonclient.grpc import service_pb2_grpc

from tests.services.gateway.relay import Relay, relaying

FINAL = "triton_final_response"
Response = Any  # The generated messages have no types.


@dataclass
class TritonLike(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers `text` word by word, or from where `partial` of it ends; or one of the faults.

    After `pieces_then` pieces it falls silent or, where it `cuts`, the connection does.
    """

    text: str = "one two three"
    error: str = ""
    status: grpc.StatusCode | None = None
    pieces_then: int | None = None
    cuts: bool = False
    malformed: bool = False
    partials: list[str] = field(default_factory=list)
    address: str = ""
    relay: Relay | None = None

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Response]:
        async for request in requests:
            inputs = _inputs(request)
            if "cancel" in inputs:
                continue
            self.partials.append(_text(inputs.get("partial", b"")))
            if self.status is not None:
                await context.abort(self.status, "it is broken")
            async for response in self._responses(request.id, inputs["stream"] == b"\1", self.partials[-1]):
                yield response

    async def _responses(self, request_id: str, streams: bool, partial: str) -> AsyncIterator[Response]:
        if self.error:
            yield _error(request_id, self.error)
            return
        words = self.text.removeprefix(partial).split(" ")
        pieces = [f" {word}" if place else word for place, word in enumerate(words)] if streams else [" ".join(words)]
        for place, piece in enumerate(pieces):
            if place == self.pieces_then:
                await self._fall_silent()
            last = place == len(pieces) - 1 and self.pieces_then is None
            yield _garbage(request_id) if self.malformed else _piece(request_id, piece, place + 1, last)
        if self.pieces_then is not None:
            await self._fall_silent()

    async def _fall_silent(self) -> None:
        if self.cuts:
            assert self.relay is not None
            await asyncio.sleep(0.02)  # What was said is to be heard: a reset throws away what is under way.
            self.relay.cut()
        await asyncio.Event().wait()


def _inputs(request: Any) -> dict[str, bytes]:
    names = [one.name for one in request.inputs]
    return dict(zip(names, request.raw_input_contents, strict=True))


def _text(raw: bytes) -> str:
    return raw[4:].decode()


def _texts(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


def _piece(request_id: str, text: str, count: int, last: bool) -> Response:
    tensors = {
        "text_output": ("BYTES", _texts(text)),
        "logprobs": ("FP32", struct.pack("<f", -0.1)),
        "finish_reason": ("BYTES", _texts("stop" if last else "")),
        "prompt_tokens": ("INT32", struct.pack("<i", 9)),
        "completion_tokens": ("INT32", struct.pack("<i", count)),
    }
    answer = triton.ModelInferResponse(id=request_id, model_name="say", model_version="3")
    for name, (datatype, raw) in tensors.items():
        answer.outputs.add(name=name, datatype=datatype, shape=[1])
        answer.raw_output_contents.append(raw)
    answer.parameters[FINAL].bool_param = last
    return triton.ModelStreamInferResponse(infer_response=answer)


def _garbage(request_id: str) -> Response:
    answer = triton.ModelInferResponse(id=request_id)
    answer.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    answer.raw_output_contents.append(
        struct.pack("<I", 2) + b"\xff\xff"
    )  # No UTF-8, and the other outputs are missing.
    answer.parameters[FINAL].bool_param = True
    return triton.ModelStreamInferResponse(infer_response=answer)


def _error(request_id: str, said: str) -> Response:
    answer = triton.ModelInferResponse(id=request_id)
    answer.parameters[FINAL].bool_param = True
    return triton.ModelStreamInferResponse(error_message=said, infer_response=answer)


@asynccontextmanager
async def serving(like: TritonLike) -> AsyncIterator[TritonLike]:
    """It, on a free port of loopback, behind a relay that can cut its connections."""
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(like, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with relaying("127.0.0.1", port) as like.relay:
            like.address = f"127.0.0.1:{like.relay.port}"
            yield like
    finally:
        await server.stop(None)
