"""An engine without a model: its tokens follow from the prompt, a step lasts a millisecond."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.student.engine import Delta, Emit, Finish, Load, Prompt, check_room

VOCABULARY = 300


def next_token(token_ids: Sequence[int], draw: random.Random | None) -> int:
    """The likeliest token after these, or a drawn one."""
    return draw.randrange(3, VOCABULARY) if draw else 3 + (sum(token_ids) * 31 + len(token_ids)) % (VOCABULARY - 3)


@dataclass
class _Request:
    prompt: Prompt
    emit: Emit
    token_ids: list[int] = field(default_factory=list)

    def step(self, eos_token_ids: Sequence[int]) -> Delta:
        draw = random.Random(self.prompt.seed + len(self.token_ids)) if self.prompt.temperature else None
        token_id = next_token([*self.prompt.token_ids, *self.token_ids], draw)
        self.token_ids.append(token_id)
        full = Finish.LENGTH if len(self.token_ids) == self.prompt.max_tokens else Finish.GOING_ON
        return Delta((token_id,), (-0.1,), Finish.STOP if token_id in eos_token_ids else full)


class FakeEngine:
    """Implements `Engine`."""

    def __init__(self, eos_token_ids: Sequence[int], max_running: int = 64, max_waiting: int = 1024) -> None:
        self._eos_token_ids = eos_token_ids
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._requests: dict[int, _Request] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def submit(self, prompt: Prompt, emit: Emit) -> None:
        with self._lock:
            check_room(len(self._requests), self._max_running, self._max_waiting)
            self._requests[prompt.id] = _Request(prompt, emit)

    def cancel(self, prompt_id: int) -> None:
        with self._lock:
            request = self._requests.pop(prompt_id, None)
        if request:
            request.emit(Delta(finish=Finish.CANCELLED))

    def load(self) -> Load:
        present = len(self._requests)
        return Load(min(present, self._max_running), max(0, present - self._max_running))

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        for prompt_id in list(self._requests):
            self.cancel(prompt_id)

    def _run(self) -> None:
        while not self._closed.is_set():
            time.sleep(0.001)
            with self._lock:
                running = list(self._requests.values())[: self._max_running]
            for request in running:
                self._step(request)

    def _step(self, request: _Request) -> None:
        delta = request.step(self._eos_token_ids)
        with self._lock:
            if request.prompt.id not in self._requests:
                return
            if delta.last:
                del self._requests[request.prompt.id]
        request.emit(delta)
