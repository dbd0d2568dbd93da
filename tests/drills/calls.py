"""Callers of the gateway: a steady rate of calls, each with an id of its own, and how every one of them ended."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import grpc
import uuid_utils

from protos import inference_pb2 as inference
from protos import inference_pb2_grpc as inference_grpc

TASK: Final = "drill"
TIMEOUT_S: Final = 20.0
ANSWERED: Final = "OK"
# A caller that finds nobody tries to connect again soon: by default it waits up to two minutes.
CHANNEL: Final = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


@dataclass
class Calls:
    """Calls made so far. `ended` has the status of each id; what is only in `begun` is still open."""

    gateway: str
    rate_per_s: float = 40.0
    text_bytes: int = 200
    stopping: bool = False
    begun: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Call at the rate, whatever becomes of the calls, until `stopping`; return when every call has ended."""
        async with grpc.aio.insecure_channel(self.gateway, options=CHANNEL) as channel, asyncio.TaskGroup() as group:
            stub = inference_grpc.InferenceStub(channel)
            next_s = time.monotonic()
            while not self.stopping:
                group.create_task(self._one(stub))
                next_s += 1 / self.rate_per_s
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def _one(self, stub: inference_grpc.InferenceStub) -> None:
        request = a_request(self.text_bytes)
        self.begun.append(request.request_id)
        try:
            await stub.Complete(request, timeout=TIMEOUT_S)
            self.ended[request.request_id] = ANSWERED
            self.answered.add(request.request_id)
        except grpc.aio.AioRpcError as error:
            self.ended[request.request_id] = error.code().name
            self.reasons[error.code().name] = str(error.details())


def a_request(text_bytes: int) -> inference.Request:
    """A request with a text of its own."""
    name = str(uuid_utils.uuid7())
    asked = inference.Message(role=inference.ROLE_USER, content=f"question {name} ".ljust(text_bytes, "."))
    return inference.Request(task=TASK, request_id=name, group_key=f"group {name[-2:]}", messages=[asked])
