"""The engine of encoders: a tagger or a classifier under OpenVINO on a CPU, which reads a prompt and answers at once.

One thread takes what waits, a micro-batch at a time, and emits each answer whole. A batch is as wide as its longest
prompt, and what the others lack is computed for nothing: so the oldest request takes along those of like length. If a
batch fails, its requests fail with its error. Nothing is drawn: temperature, top_p and seed change nothing.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from services.encoder import TOGETHER, Encoder, Read
from services.student import thread
from services.student.config import Settings, Student
from services.student.engine import Delta, Emit, Engine, Finish, Load, Prompt, check_room

PADDED_MOST = 0.2
"""Of what a batch computes. Reviews of 10 to 200 tokens, taken as they come, are padded by 62 %, dearer than alone."""

Reading: TypeAlias = Callable[[Sequence[str], Sequence[int]], list[Read]]
"""Texts and the most tokens of each answer, to answers; `Encoder.read`."""


def build(directory: Path, student: Student, settings: Settings) -> Engine:  # noqa: ARG001 - as every engine
    """`directory` holds what `services.encoder` names. RuntimeError if it can't be loaded."""
    return MicroBatches(Encoder(directory).read, settings)


class MicroBatches:
    """Implements `Engine`."""

    def __init__(self, read: Reading, settings: Settings) -> None:
        self._read = read
        self._settings = settings
        self._together = min(TOGETHER, settings.max_running)
        self._changed = threading.Condition()  # guards the next four
        self._waiting: deque[tuple[Prompt, Emit]] = deque()
        self._running: list[tuple[Prompt, Emit]] = []
        self._cancelled: set[int] = set()
        self._closed = False
        self._thread = thread.start("encoder-batches", self._run)

    def submit(self, prompt: Prompt, emit: Emit) -> None:
        with self._changed:
            present = len(self._running) + len(self._waiting)
            check_room(present, self._together, self._settings.max_waiting)
            self._waiting.append((prompt, emit))
            self._changed.notify()

    def cancel(self, prompt_id: int) -> None:
        with self._changed:
            if any(prompt.id == prompt_id for prompt, _ in (*self._running, *self._waiting)):
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
            batch = self._take()
            deltas = self._answers([prompt for prompt, _ in batch])
            for (prompt, emit), delta in zip(batch, deltas, strict=True):
                emit(self._ended(prompt.id, delta))
        for _, emit in self._waiting:
            emit(Delta(finish=Finish.CANCELLED))

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return not self._closed

    def _drop_cancelled(self) -> None:
        with self._changed:
            dropped = [item for item in self._waiting if item[0].id in self._cancelled]
            self._waiting = deque(item for item in self._waiting if item[0].id not in self._cancelled)
            self._cancelled.clear()
        for _, emit in dropped:
            emit(Delta(finish=Finish.CANCELLED))

    def _take(self) -> list[tuple[Prompt, Emit]]:
        with self._changed:
            waiting = list(self._waiting)
            taken = set(alike([len(prompt.token_ids) for prompt, _ in waiting], self._together))
            self._running = [item for place, item in enumerate(waiting) if place in taken]
            self._waiting = deque(item for place, item in enumerate(waiting) if place not in taken)
            return list(self._running)

    def _answers(self, prompts: Sequence[Prompt]) -> list[Delta]:
        if not prompts:
            return []
        try:
            read = self._read([prompt.text for prompt in prompts], [prompt.max_tokens for prompt in prompts])
        except RuntimeError as error:
            return [Delta(error=f"engine: {str(error).strip().splitlines()[-1]}")] * len(prompts)
        return [_delta(answer) for answer in read]

    def _ended(self, prompt_id: int, delta: Delta) -> Delta:
        """The delta, unless its request was cancelled meanwhile; the request is running no more."""
        with self._changed:
            self._running = [item for item in self._running if item[0].id != prompt_id]
            cancelled = prompt_id in self._cancelled
            self._cancelled.discard(prompt_id)
        return Delta(finish=Finish.CANCELLED) if cancelled else delta


def alike(lengths: Sequence[int], most: int) -> list[int]:
    """The places of at most so many of these to be computed together: the first, and those nearest to it in length."""
    nearest = sorted(range(len(lengths)), key=lambda place: abs(lengths[place] - lengths[0]))
    taken, tokens, width = list[int](), 0, 0
    for place in nearest:
        wider, more = max(width, lengths[place]), tokens + lengths[place]
        if len(taken) == most:
            break
        if more >= (1 - PADDED_MOST) * wider * (len(taken) + 1):
            taken.append(place)
            tokens, width = more, wider
    return taken


def _delta(answer: Read) -> Delta:
    finish = Finish.LENGTH if answer.cut else Finish.STOP
    return Delta(tuple(range(len(answer.logprobs))), answer.logprobs, finish, text=answer.text)
