"""The engine on CPUs: OpenVINO GenAI's continuous batching. The only importer of openvino and openvino_genai.

One thread owns the pipeline: it admits, steps, and emits what each step made. If a step fails, all requests that are
present fail with its error, and the next one gets a new pipeline. The process stays: Triton does not replace one that
ends (see `thread`).
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino
import openvino_genai

from services.student import thread
from services.student.config import Settings, Student
from services.student.engine import Delta, Emit, Engine, Finish, Load, Prompt, check_room

Handle: TypeAlias = openvino_genai.py_openvino_genai.GenerationHandle  # the package itself does not export it

FINISHES: Mapping[openvino_genai.GenerationFinishReason, Finish] = {
    openvino_genai.GenerationFinishReason.NONE: Finish.GOING_ON,
    openvino_genai.GenerationFinishReason.STOP: Finish.STOP,
    openvino_genai.GenerationFinishReason.LENGTH: Finish.LENGTH,
}


def build(directory: Path, student: Student, settings: Settings) -> Engine:
    """`directory` holds `openvino_model.xml` and `.bin`. RuntimeError if they can't be loaded."""
    return OpenVino(lambda: _pipeline(directory, settings), student.eos_token_ids, settings)


@dataclass(slots=True)
class _Running:
    handle: Handle
    emit: Emit


class OpenVino:
    """Implements `Engine`. `build_pipeline` is called at the start and at the first request after a failed step."""

    def __init__(
        self,
        build_pipeline: Callable[[], openvino_genai.ContinuousBatchingPipeline],
        eos_token_ids: tuple[int, ...],
        settings: Settings,
    ) -> None:
        self._build_pipeline = build_pipeline
        self._eos_token_ids = eos_token_ids
        self._settings = settings
        self._changed = threading.Condition()  # guards the next four
        self._waiting: deque[tuple[Prompt, Emit]] = deque()
        self._cancelled: set[int] = set()
        self._closed = False
        self._running: dict[int, _Running] = {}  # changed by the thread only
        self._pipeline = build_pipeline()
        self._thread = thread.start("openvino-steps", self._run)

    def submit(self, prompt: Prompt, emit: Emit) -> None:
        with self._changed:
            present = len(self._running) + len(self._waiting)
            check_room(present, self._settings.max_running, self._settings.max_waiting)
            self._waiting.append((prompt, emit))
            self._changed.notify()

    def cancel(self, prompt_id: int) -> None:
        with self._changed:
            self._cancelled.add(prompt_id)
            self._changed.notify()

    def load(self) -> Load:
        with self._changed:
            return Load(len(self._running), len(self._waiting))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._await_work():
            self._drop_cancelled()
            try:
                self._admit()
                self._step()
            except RuntimeError as error:
                self._pipeline = None
                self._end_all(_failure(error))
        self._end_all(Delta(finish=Finish.CANCELLED))

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._running or self._cancelled)
            return not self._closed

    def _drop_cancelled(self) -> None:
        with self._changed:
            cancelled, self._cancelled = self._cancelled, set()
            dropped = [emit for prompt, emit in self._waiting if prompt.id in cancelled]
            self._waiting = deque(item for item in self._waiting if item[0].id not in cancelled)
            stopped = [self._running.pop(id_) for id_ in cancelled & self._running.keys()]
        for running in stopped:
            running.handle.stop()  # its cache blocks are free after the next step
        for emit in [*dropped, *(running.emit for running in stopped)]:
            emit(Delta(finish=Finish.CANCELLED))

    def _admit(self) -> None:
        pipeline = self._pipeline = self._pipeline or self._build_pipeline()
        for prompt, emit in self._take_waiting():
            ids = openvino.Tensor(np.array([prompt.token_ids], dtype=np.int64))
            try:
                handle = pipeline.add_request(prompt.id, ids, _generation(prompt, self._eos_token_ids))
            except RuntimeError as error:
                emit(_failure(error))
                continue
            with self._changed:
                self._running[prompt.id] = _Running(handle, emit)

    def _take_waiting(self) -> list[tuple[Prompt, Emit]]:
        with self._changed:
            room = self._settings.max_running - len(self._running)
            return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def _step(self) -> None:
        self._pipeline.step()
        for prompt_id, running in list(self._running.items()):
            delta = _read(running.handle)
            if delta.last:
                with self._changed:
                    del self._running[prompt_id]
            if delta.last or delta.token_ids:
                running.emit(delta)

    def _end_all(self, delta: Delta) -> None:
        with self._changed:
            emits = [running.emit for running in self._running.values()] + [emit for _, emit in self._waiting]
            self._running.clear()
            self._waiting.clear()
        for emit in emits:
            emit(delta)


def _pipeline(directory: Path, settings: Settings) -> openvino_genai.ContinuousBatchingPipeline:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs = settings.max_running
    scheduler.cache_size = settings.cache_gb
    # Left off: enable_prefix_caching. With it OpenVINO GenAI 2026.4 answers some of those wrongly who come together
    # while others are answered, and whose prompts begin alike.
    return openvino_genai.ContinuousBatchingPipeline(
        models_path=str(directory), scheduler_config=scheduler, device="CPU"
    )


def _generation(prompt: Prompt, eos_token_ids: tuple[int, ...]) -> openvino_genai.GenerationConfig:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = prompt.max_tokens
    config.logprobs = 1
    config.eos_token_id = eos_token_ids[0]
    config.stop_token_ids = set(eos_token_ids)
    if prompt.temperature > 0:
        config.do_sample = True
        config.temperature = prompt.temperature
        config.top_p = prompt.top_p
        config.rng_seed = prompt.seed
    return config


def _read(handle: Handle) -> Delta:
    """All that the handle has, which is one token after most steps."""
    token_ids: list[int] = []
    logprobs: list[float] = []
    finish = Finish.GOING_ON
    if handle.get_status() == openvino_genai.GenerationStatus.IGNORED:
        return Delta(error="engine: the key-value cache is too small for this request; raise cache_gb")
    while handle.can_read():
        for output in handle.read().values():
            token_ids += output.generated_ids
            logprobs += [min(0.0, logprob) for logprob in output.generated_log_probs]
            finish = FINISHES[output.finish_reason]
    return Delta(tuple(token_ids), tuple(logprobs), finish)


def _failure(error: RuntimeError) -> Delta:
    """Without the places in OpenVINO's sources, which stand in all lines but the last."""
    return Delta(error=f"engine: {str(error).strip().splitlines()[-1]}")
