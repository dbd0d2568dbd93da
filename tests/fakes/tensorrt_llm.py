"""What of TensorRT-LLM's documented LLM API the adapter uses, without a GPU: put it into sys.modules."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.student_engine import next_token


@dataclass(kw_only=True)
class SamplingParams:
    """Its fields are those of the real one that are used."""

    end_id: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int = 32
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    logprobs: int | None = None
    detokenize: bool = True


@dataclass(kw_only=True)
class KvCacheConfig:
    enable_block_reuse: bool = True
    free_gpu_memory_fraction: float | None = None


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None


@dataclass
class CompletionOutput:
    """Holds all tokens so far, not only the new ones."""

    index: int = 0
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    finish_reason: str | None = None


class RequestOutput:
    """Awaits its own tokens: `async for output in llm.generate_async(...)` yields itself, grown."""

    def __init__(
        self, prompt_token_ids: list[int], params: SamplingParams, places: asyncio.Semaphore, ended: Callable[[], None]
    ) -> None:
        self.prompt_token_ids = prompt_token_ids
        self.outputs = [CompletionOutput()]
        self.aborted = False
        self._params = params
        self._places = places
        self._ended = ended

    def abort(self) -> None:
        self.aborted = True
        self._ended()

    async def __aiter__(self) -> AsyncIterator["RequestOutput"]:
        async with self._places:
            async for output in self._grow():
                yield output

    async def _grow(self) -> AsyncIterator["RequestOutput"]:
        params, output = self._params, self.outputs[0]
        while output.finish_reason is None:
            await asyncio.sleep(0.001)
            draw = random.Random((params.seed or 0) + len(output.token_ids)) if params.temperature else None
            token_id = next_token([*self.prompt_token_ids, *output.token_ids], draw)
            output.token_ids.append(token_id)
            output.logprobs.append({token_id: Logprob(-0.1, 1), 0: Logprob(-5.0, 2)})
            if token_id in {params.end_id, *(params.stop_token_ids or ())}:
                output.finish_reason = "stop"
            elif len(output.token_ids) == params.max_tokens:
                output.finish_reason = "length"
            yield self
        self._ended()


class LLM:
    """`made` keeps the arguments of the last one, `unfinished` counts what still generates."""

    made: dict[str, Any]
    unfinished = 0

    def __init__(self, model: str, **kwargs: Any) -> None:
        type(self).made = {"model": model, **kwargs}
        self._places = asyncio.Semaphore(kwargs["max_batch_size"])
        self.results: list[RequestOutput] = []
        self.fail_with: Exception | None = None
        self.shut = False

    def generate_async(self, inputs: list[int], sampling_params: SamplingParams, streaming: bool) -> RequestOutput:
        assert streaming
        if self.fail_with:
            raise self.fail_with
        self.unfinished += 1
        result = RequestOutput(inputs, sampling_params, self._places, self._ended)
        self.results.append(result)
        return result

    def shutdown(self) -> None:
        self.shut = True

    def _ended(self) -> None:
        self.unfinished -= 1


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as the test lasts, `import tensorrt_llm` finds this module."""
    this = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "tensorrt_llm", this)
    llmapi = ModuleType("tensorrt_llm.llmapi")
    llmapi.KvCacheConfig = KvCacheConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt_llm.llmapi", llmapi)
    monkeypatch.delitem(sys.modules, "services.student.tensorrt_llm", raising=False)
