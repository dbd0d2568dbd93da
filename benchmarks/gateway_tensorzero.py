"""TensorZero's embedded gateway under load, in an environment of its own; the standard library, uvloop and tensorzero.

`python gateway_tensorzero.py CONFIG`, and for each line of its input, a JSON object with `streams`, `stream`, `seconds`
and `rate`, a line with what came of it. Its caller lives in the same process, so its cost is in the figures.
"""

import asyncio
import json
import resource
import statistics
import sys
import time
from typing import Any

import uvloop
from gateway_request import INSTRUCTIONS, QUESTION  # type: ignore[import-not-found]  # beside this file
from tensorzero import AsyncTensorZeroGateway  # type: ignore[import-not-found]

FUNCTION = "extract"
INPUT = {"system": INSTRUCTIONS, "messages": [{"role": "user", "content": QUESTION}]}


class Load:
    """Calls for so many seconds, so many at a time, and no more a second than `rate`, if one is given."""

    def __init__(self, gateway: Any, asked: dict[str, Any]) -> None:
        self._gateway = gateway
        self._asked = asked
        self._took_s: list[float] = []
        self._failed = 0
        self._sent = 0

    async def figures(self) -> dict[str, float]:
        """What the calls took."""
        before_s, self._began_s = _cpu_s(), time.perf_counter()
        await asyncio.gather(*(self._line() for _ in range(self._asked["streams"])))
        seconds = time.perf_counter() - self._began_s
        return {
            "calls": len(self._took_s),
            "failed": self._failed,
            "calls_per_s": len(self._took_s) / seconds,
            "cpu_us": (_cpu_s() - before_s) * 1e6 / max(1, len(self._took_s)),
            **_percentiles_ms(self._took_s),
        }

    async def _line(self) -> None:
        while await self._due() < self._began_s + self._asked["seconds"]:
            begun_s = time.perf_counter()
            try:
                await self._call()
                self._took_s.append(time.perf_counter() - begun_s)
            except Exception:  # noqa: BLE001 - whatever the package raises, the call has failed
                self._failed += 1

    async def _due(self) -> float:
        """When the next call may begin, which is now."""
        if not self._asked["rate"]:
            return time.perf_counter()
        due_s: float = self._began_s + self._sent / self._asked["rate"]
        self._sent += 1
        await asyncio.sleep(due_s - time.perf_counter())
        return due_s

    async def _call(self) -> None:
        stream = self._asked["stream"]
        answer = await self._gateway.inference(function_name=FUNCTION, input=INPUT, stream=stream)
        if stream:
            async for _chunk in answer:
                pass


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _percentiles_ms(took_s: list[float]) -> dict[str, float]:
    if len(took_s) < 2:
        return {}
    cuts = statistics.quantiles(took_s, n=1000, method="inclusive")
    return {"p50_ms": cuts[499] * 1e3, "p99_ms": cuts[989] * 1e3, "p999_ms": cuts[998] * 1e3}


async def main(config: str) -> None:
    """Answer line by line."""
    made: Any = AsyncTensorZeroGateway.build_embedded(config_file=config)
    gateway = await made
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(await Load(gateway, json.loads(line)).figures()), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
