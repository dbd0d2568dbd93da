"""What Triton's Python backend loads: takes requests, hands them to the engine, and watches for callers who left.

`execute` only queues. The engine's one thread sends every response. A second thread looks at the open calls a few
times a second, because a caller may leave while his request still waits and nothing is sent for it.
"""

import importlib
import itertools
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

from services.errors import Overloaded
from services.student import thread
from services.student.answer import Answer
from services.student.call import FINAL, Call, error_response
from services.student.config import Settings, Student, load_limits, load_settings, load_student
from services.student.engine import Delta, Engine
from services.student.metrics import Metrics
from services.student.request import Ask, BadRequest, read_ask

SCALARS = ("text_input", "max_tokens", "temperature", "top_p", "seed", "stream")
LISTS = ("stop",)


class TritonPythonModel:
    """One version of one task's student."""

    def initialize(self, args: Mapping[str, str]) -> None:
        directory = Path(args["model_repository"]) / args["model_version"]
        self._settings = load_settings(args["model_config"])
        self._student = load_student(directory)
        self._limits = load_limits(directory, self._student, self._settings)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        # Ids start anywhere: they are the seeds of requests without one, which should differ between processes.
        self._ids = itertools.count(secrets.randbits(32))
        self._calls: dict[int, Call] = {}
        self._engine = build_engine(directory, self._student, self._settings)
        self._metrics = Metrics(json.loads(args["model_config"])["name"], args["model_version"])
        self._closed = threading.Event()
        self._watcher = thread.start("watcher", self._watch)

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            try:
                unread = self._student.pruning
                self._submit(sender, read_ask(next(self._ids), _values(request), self._encode, self._limits, unread))
            except (BadRequest, Overloaded) as error:
                sender.send(error_response(str(error)), flags=FINAL)

    def finalize(self) -> None:
        self._closed.set()
        self._watcher.join()
        self._engine.close()

    def _submit(self, sender: Any, ask: Ask) -> None:
        answer = Answer(self._decode, (*self._student.stop_texts, *ask.stop), ask.stream)
        call = Call(sender, answer, len(ask.prompt.token_ids))
        self._calls[ask.prompt.id] = call
        try:
            self._engine.submit(ask.prompt, partial(self._feed, ask.prompt.id, call))
        except Overloaded:
            del self._calls[ask.prompt.id]
            raise

    def _feed(self, prompt_id: int, call: Call, delta: Delta) -> None:
        if call.ended:
            return
        call.feed(delta)
        if call.ended:
            del self._calls[prompt_id]
            self._metrics.count(call.ended)
            if not delta.last:  # a stop text ended it; the engine does not know
                self._engine.cancel(prompt_id)

    def _watch(self) -> None:
        while not self._closed.wait(self._settings.cancel_check_s):
            for prompt_id, call in list(self._calls.items()):
                if call.caller_left():
                    self._engine.cancel(prompt_id)
            self._metrics.show(self._engine.load())

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _decode(self, token_ids: Sequence[int]) -> str:
        return cast(str, self._tokenizer.decode(list(token_ids), skip_special_tokens=True))


def build_engine(directory: Path, student: Student, settings: Settings) -> Engine:
    """Imports only the engine that student.json names: no machine has the packages of both."""
    module = importlib.import_module(f"services.student.{student.engine}")
    return cast(Engine, module.build(directory, student, settings))


def _values(request: Any) -> dict[str, object]:
    """The inputs that the request has: scalars as numbers or bytes, lists as tuples of bytes."""
    arrays = {name: pb_utils.get_input_tensor_by_name(request, name) for name in (*SCALARS, *LISTS)}
    given = {name: tensor.as_numpy() for name, tensor in arrays.items() if tensor is not None}
    return {name: array.item() if name in SCALARS else tuple(array.ravel()) for name, array in given.items()}
