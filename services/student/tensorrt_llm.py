"""The engine on GPUs: TensorRT-LLM's LLM API with its in-flight batching. The only importer of tensorrt_llm.

Written against the documented API and tested against a stand-in of it; it has not been run on a GPU.

One asyncio loop in one thread awaits all answers and emits their deltas. A request that fails ends with the engine's
error and the others go on. `directory` is a model in Hugging Face layout (config.json, safetensors).
"""

import asyncio
import threading
from pathlib import Path
from typing import Any

import tensorrt_llm
from tensorrt_llm.llmapi import KvCacheConfig

from services.student import thread
from services.student.config import Settings, Student
from services.student.engine import Delta, Emit, Engine, Finish, Load, Prompt, check_room

FINISHES = {None: Finish.GOING_ON, "stop": Finish.STOP, "length": Finish.LENGTH, "cancelled": Finish.CANCELLED}


def build(directory: Path, student: Student, settings: Settings) -> Engine:
    """Raises what tensorrt_llm raises if the model can't be loaded."""
    llm = tensorrt_llm.LLM(
        model=str(directory),
        skip_tokenizer_init=True,  # text stays above the seam
        max_batch_size=settings.max_running,
        kv_cache_config=KvCacheConfig(enable_block_reuse=True, free_gpu_memory_fraction=settings.gpu_cache_fraction),
    )
    return TensorRtLlm(llm, student.eos_token_ids, settings)


class TensorRtLlm:
    """Implements `Engine`."""

    def __init__(self, llm: Any, eos_token_ids: tuple[int, ...], settings: Settings) -> None:
        self._llm = llm
        self._eos_token_ids = eos_token_ids
        self._settings = settings
        self._lock = threading.Lock()
        self._tasks: dict[int, asyncio.Task[Delta]] = {}  # touched by the loop's thread only
        self._present: set[int] = set()  # under the lock
        self._loop = asyncio.new_event_loop()
        self._thread = thread.start("tensorrt-llm", self._loop.run_forever)

    def submit(self, prompt: Prompt, emit: Emit) -> None:
        with self._lock:
            check_room(len(self._present), self._settings.max_running, self._settings.max_waiting)
            self._present.add(prompt.id)
        self._loop.call_soon_threadsafe(self._start, prompt, emit)

    def cancel(self, prompt_id: int) -> None:
        self._loop.call_soon_threadsafe(self._cancel, prompt_id)

    def load(self) -> Load:
        with self._lock:
            present = len(self._present)
        running = min(present, self._settings.max_running)
        return Load(running, present - running)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._llm.shutdown()

    def _start(self, prompt: Prompt, emit: Emit) -> None:
        task = self._loop.create_task(self._generate(prompt, emit))
        self._tasks[prompt.id] = task
        task.add_done_callback(lambda _: self._ended(prompt.id, task, emit))

    def _cancel(self, prompt_id: int) -> None:
        if prompt_id in self._tasks:
            self._tasks[prompt_id].cancel()

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, prompt_id: int, task: asyncio.Task[Delta], emit: Emit) -> None:
        del self._tasks[prompt_id]
        with self._lock:
            self._present.discard(prompt_id)
        if task.cancelled():
            emit(Delta(finish=Finish.CANCELLED))
        elif error := task.exception():
            emit(Delta(error=f"engine: {error}"))
        else:
            emit(task.result())

    async def _generate(self, prompt: Prompt, emit: Emit) -> Delta:
        """Emits all but the last delta, which it returns."""
        result = self._llm.generate_async(
            list(prompt.token_ids), sampling_params=_sampling(prompt, self._eos_token_ids), streaming=True
        )
        read = 0
        try:
            async for output in result:
                delta = _delta(output.outputs[0], read)
                if delta.last:
                    return delta
                read += len(delta.token_ids)
                emit(delta)
        except asyncio.CancelledError:
            result.abort()
            raise
        return Delta(error="engine: the answer ended without a finish reason")


def _sampling(prompt: Prompt, eos_token_ids: tuple[int, ...]) -> Any:
    drawn = {"temperature": prompt.temperature, "top_p": prompt.top_p, "seed": prompt.seed}
    return tensorrt_llm.SamplingParams(
        end_id=eos_token_ids[0],
        stop_token_ids=list(eos_token_ids[1:]) or None,
        max_tokens=prompt.max_tokens,
        logprobs=1,
        detokenize=False,
        **(drawn if prompt.temperature > 0 else {"top_k": 1}),
    )


def _delta(output: Any, read: int) -> Delta:
    """What a CompletionOutput, which holds all tokens so far, has beyond the first `read` of them."""
    if output.finish_reason == "timeout":
        return Delta(error="engine: timed out")
    token_ids = tuple(output.token_ids[read:])
    logprobs = tuple(
        _logprob(entry, token_id) for entry, token_id in zip(output.logprobs[read:], token_ids, strict=False)
    )
    return Delta(token_ids, logprobs, FINISHES[output.finish_reason])


def _logprob(entry: Any, token_id: int) -> float:
    """An entry is a log-probability, or a mapping to theirs from the likeliest token ids and the drawn one."""
    return min(0.0, float(entry[token_id].logprob if isinstance(entry, dict) else entry))
