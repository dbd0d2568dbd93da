"""An ask as a ModelInferRequest in bytes, and what Triton sends as an answer. Pure; the gateway's only importer of
tritonclient. What each tensor means stands in `services/student/__init__.py`.

Without tritonclient's InferInput and `as_numpy`, which alone take as long as all the rest of a call: tensors of one
element are a handful of bytes. What all requests of a model have in common is serialised once; protobuf reads two
messages that follow one another as one.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from math import isnan
from typing import Final, NamedTuple

from tritonclient.grpc import service_pb2 as triton

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, BackendFailed, FailureKind, student_model
from services.gateway.router import tool_calls
from services.tasks import student_prompt

FINISHES: Final = {"stop": inference.FINISH_STOP, "length": inference.FINISH_LENGTH}
MESSAGE_CHARS: Final = 300
ALWAYS: Final = {"text_input": "BYTES", "max_tokens": "INT32", "temperature": "FP32", "stream": "BOOL"}
FIELDS: Final = frozenset({*ALWAYS, "top_p", "seed", "stop", "partial"})
FINAL: Final = "triton_final_response"
UNKNOWN_PARTIAL: Final = "unexpected inference input 'partial'"


class Response(NamedTuple):
    """What Triton sent for a request: tensors' bytes by their names, none if it only says that there is no more."""

    request_id: str
    tensors: dict[str, bytes]
    final: bool
    error: str  # Then it is the last, too.


class Full(BackendFailed):
    """It has as many calls as it takes, which is no fault of the replica's."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.UNAVAILABLE, message)


def request(ask: Ask, request_id: str, *, stream: bool, timeout_s: float) -> bytes:
    """A ModelInferRequest. Triton ends the generation itself when `timeout_s` has passed, should nobody else."""
    sampling, limit = ask.request.sampling, ask.task.student.max_tokens
    max_tokens = min(sampling.max_tokens, limit) if sampling.HasField("max_tokens") else limit
    message = triton.ModelInferRequest(id=request_id)
    message.parameters["timeout"].int64_param = max(1, round(timeout_s * 1e6))
    raw = message.raw_input_contents
    raw.append(_texts(student_prompt(ask.task, ask.request)))
    raw.append(struct.pack("<i", max_tokens))
    raw.append(struct.pack("<f", sampling.temperature))
    raw.append(b"\1" if stream else b"\0")
    if sampling.HasField("top_p"):
        _add(message, "top_p", "FP32", struct.pack("<f", sampling.top_p))
    if sampling.HasField("seed"):
        _add(message, "seed", "UINT64", struct.pack("<Q", sampling.seed))
    if sampling.stop:
        _add(message, "stop", "BYTES", _texts(*sampling.stop), len(sampling.stop))
    if ask.partial:
        _add(message, "partial", "BYTES", _texts(ask.partial))
    return _common(ask.task.name, ask.student_version) + bytes(message.SerializeToString())


def cancelling(ask: Ask, request_id: str) -> bytes:
    """A ModelInferRequest that makes the student stop another one. One that can't refuses it, to nobody's harm."""
    message = triton.ModelInferRequest(
        id=f"{request_id} cancel", model_name=ask.task.name, model_version=str(ask.student_version)
    )
    _add(message, "text_input", "BYTES", _texts(""))
    _add(message, "cancel", "BYTES", _texts(request_id))
    return bytes(message.SerializeToString())


def read(message: bytes) -> Response:
    """A ModelStreamInferResponse."""
    came = triton.ModelStreamInferResponse.FromString(message)
    answer, error = came.infer_response, came.error_message
    names = [output.name for output in answer.outputs]
    final = bool(error) or (FINAL in answer.parameters and answer.parameters[FINAL].bool_param)
    return Response(answer.id, dict(zip(names, answer.raw_output_contents, strict=False)), final, error)


def failed(message: str) -> BackendFailed:
    """What an error response means: the student names the field where the request is at fault."""
    kind, said = message.partition(":")[0], message[:MESSAGE_CHARS]
    if kind == "overloaded":
        return Full(said)
    if kind in FIELDS:
        return BackendFailed(FailureKind.REFUSED, said)
    if UNKNOWN_PARTIAL in message:
        return BackendFailed(FailureKind.REFUSED, "partial: this student's config.pbtxt knows no such input")
    return BackendFailed(FailureKind.UNAVAILABLE, said)


class Growing:
    """An answer that comes in one response or in many. The confidence is the least of all log-probabilities."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._texts = [ask.partial]
        self._finish = ""
        self._confidence: float | None = None
        # Filled in place: handing whole messages to a message copies them, and takes ten times as long.
        self._attempt = events.Attempt(
            backend=inference.BACKEND_STUDENT,
            model=student_model(ask.task.name, ask.student_version),
            student_version=ask.student_version,
        )

    def add(self, tensors: Mapping[str, bytes]) -> str:
        """Take a response in; returns its text. A last one may be empty. Raises BackendFailed if it is no answer."""
        if not tensors:
            return ""
        try:
            text = _text(tensors["text_output"])
            self._count(tensors["logprobs"])
            self._finish = _text(tensors["finish_reason"]) or self._finish
            self._attempt.usage.prompt_tokens = _integer(tensors["prompt_tokens"])
            self._attempt.usage.completion_tokens = _integer(tensors["completion_tokens"])
        except (KeyError, struct.error, ValueError) as error:  # A negative count is a ValueError of protobuf's.
            raise BackendFailed(
                FailureKind.UNAVAILABLE, f"what Triton sent is no student's answer: {error!r}"
            ) from error
        self._texts.append(text)
        return text

    def _count(self, raw: bytes) -> None:
        if raw:
            least = min(found := struct.unpack(f"<{len(raw) // 4}f", raw))
            if isnan(sum(found)):  # Of which min would say one thing or another.
                raise ValueError("a log-probability is no number")
            self._confidence = least if self._confidence is None else min(self._confidence, least)

    def attempt(self) -> events.Attempt:
        """The whole answer. Raises BackendFailed if it did not come to an end."""
        if self._finish not in FINISHES:
            raise BackendFailed(FailureKind.UNAVAILABLE, f"its answer ended unfinished ({self._finish or 'no reason'})")
        attempt = self._attempt
        attempt.finish = FINISHES[self._finish]
        if self._confidence is not None:
            attempt.confidence = self._confidence
        self._say(attempt.message, "".join(self._texts))
        if attempt.message.tool_calls:
            attempt.finish = inference.FINISH_TOOL_CALLS
        return attempt

    def _say(self, message: inference.Message, text: str) -> None:
        message.role = inference.ROLE_ASSISTANT
        calls = tool_calls(text) if self._ask.request.tools else []
        message.tool_calls.extend(calls)
        message.content = "" if calls else text


@lru_cache(maxsize=1024)
def _common(model: str, version: int) -> bytes:
    message = triton.ModelInferRequest(model_name=model, model_version=str(version))
    for name, datatype in ALWAYS.items():
        message.inputs.add(name=name, datatype=datatype, shape=[1])
    message.parameters["triton_enable_empty_final_response"].bool_param = True  # so that the end is always told
    return bytes(message.SerializeToString())


def _add(message: "triton.ModelInferRequest", name: str, datatype: str, raw: bytes, count: int = 1) -> None:
    message.inputs.add(name=name, datatype=datatype, shape=[count])
    message.raw_input_contents.append(raw)


def _texts(*texts: str) -> bytes:
    """BYTES: each element's length and the element."""
    elements = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _text(raw: bytes) -> str:
    """The one element of BYTES."""
    (length,) = struct.unpack_from("<I", raw)
    if length != len(raw) - 4:
        raise ValueError(f"a text of {length} bytes in {len(raw) - 4}")
    return raw[4 : 4 + length].decode()


def _integer(raw: bytes) -> int:
    return int(struct.unpack_from("<i", raw)[0])
