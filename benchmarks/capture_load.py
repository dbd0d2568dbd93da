"""The callers of benchmarks.capture: a process that keeps so many calls open, one after another on each line.

`python -m benchmarks.capture_load ADDRESS CALLS_AT_ONCE SECONDS` prints one JSON object: calls, seconds, the latencies'
percentiles in milliseconds and how many calls ended in another status than OK.
"""

import asyncio
import json
import random
import sys
import time

import grpc
import uvloop

from benchmarks.messages import exchange
from benchmarks.result import percentile
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc

WARM_UP_S = 1.0


async def line(stub: inference_pb2_grpc.InferenceStub, asked: list[inference.Request], until_s: float) -> list[float]:
    """Call after call until then; the latency of each in seconds, below 0 where it failed."""
    took_s = []
    while (began_s := time.monotonic()) < until_s:
        try:
            await stub.Complete(random.choice(asked), timeout=10)
            took_s.append(time.monotonic() - began_s)
        except grpc.aio.AioRpcError:
            took_s.append(-1.0)
    return took_s


async def load(address: str, calls_at_once: int, seconds: float) -> dict[str, float]:
    """Keep the calls open for so long, once for warmth and once for the figures."""
    rng = random.Random(3)
    asked = [exchange(0, "", rng).request for _ in range(1_000)]
    async with grpc.aio.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        for length_s in (WARM_UP_S, seconds):
            until_s = (began_s := time.monotonic()) + length_s
            lines = await asyncio.gather(*(line(stub, asked, until_s) for _ in range(calls_at_once)))
            whole_s = time.monotonic() - began_s
    took_s = [one for each in lines for one in each]
    good_s = [one for one in took_s if one >= 0]
    return {
        "calls": len(good_s),
        "seconds": whole_s,
        "p50_ms": percentile(good_s, 50) * 1e3,
        "p99_ms": percentile(good_s, 99) * 1e3,
        "failed": len(took_s) - len(good_s),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
