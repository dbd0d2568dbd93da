"""What Triton's Python backend loads: takes requests, hands them to the engine, and watches for callers who left.

`execute` only queues. The engine's one thread sends every response. A second thread looks at the open calls a few
times a second, because a caller may leave, or his time be over, while his request still waits and nothing is sent for
it. A caller who shares his stream with others can't leave by ending that: another request names the one to stop.
"""

import importlib
import itertools
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

from services.errors import Overloaded
from services.student import thread
from services.student.answer import Answer, Begun
from services.student.call import FINAL, Call, error_response
from services.student.config import Settings, Student, load_limits, load_settings, load_student
from services.student.engine import Delta, Engine
from services.student.metrics import Metrics
from services.student.request import Ask, BadRequest, read_ask

SCALARS = ("text_input", "max_tokens", "temperature", "top_p", "seed", "stream", "partial", "cancel")
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
        self._named: dict[str, int] = {}  # the calls whose requests have an id
        self._engine = build_engine(directory, self._student, self._settings)
        self._metrics = Metrics(json.loads(args["model_config"])["name"], args["model_version"])
        self._closed = threading.Event()
        self._watcher = thread.start("watcher", self._watch)

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            sender, values = request.get_response_sender(), _values(request)
            if "cancel" in values:
                self._cancel(sender, values["cancel"])
                continue
            try:
                ask = read_ask(next(self._ids), values, self._encode, self._limits, self._student)
                self._submit(Call(sender, self._answer(ask), ask.prompt, request.request_id(), request.timeout()))
            except (BadRequest, Overloaded) as error:
                sender.send(error_response(str(error)), flags=FINAL)

    def finalize(self) -> None:
        self._closed.set()
        self._watcher.join()
        self._engine.close()

    def _cancel(self, sender: Any, named: object) -> None:
        """Has no response. The request that is named may have ended, or never have been here."""
        prompt_id = self._named.get(named.decode("utf-8", "replace")) if isinstance(named, bytes) else None
        if prompt_id is not None:
            self._engine.cancel(prompt_id)
        sender.send(flags=FINAL)

    def _answer(self, ask: Ask) -> Answer:
        stop_texts = (*self._student.stop_texts, *ask.stop)
        return Answer(self._decode, stop_texts, ask.stream, Begun(ask.partial, ask.partial_ids))

    def _submit(self, call: Call) -> None:
        self._calls[call.prompt.id] = call
        if call.request_id:
            self._named[call.request_id] = call.prompt.id
        try:
            self._engine.submit(call.prompt, partial(self._feed, call))
        except Overloaded:
            self._forget(call)
            raise

    def _forget(self, call: Call) -> None:
        del self._calls[call.prompt.id]
        if self._named.get(call.request_id) == call.prompt.id:
            del self._named[call.request_id]

    def _feed(self, call: Call, delta: Delta) -> None:
        if call.ended:
            return
        call.feed(delta)
        if call.ended:
            self._forget(call)
            self._metrics.count(call.ended)
            if not delta.last:  # a stop text ended it; the engine does not know
                self._engine.cancel(call.prompt.id)

    def _watch(self) -> None:
        while not self._closed.wait(self._settings.cancel_check_s):
            now_s = time.monotonic()
            for prompt_id, call in list(self._calls.items()):
                if call.is_late(now_s) or call.caller_left():
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
