"""The student: a decoupled model in Triton. The gateway's only importer of tritonclient; its errors end here."""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import InferInput, KeepAliveOptions
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, BackendFailed, FailureKind, OnText
from services.gateway.router import tool_calls
from services.tasks import student_prompt

KEEPALIVE: Final = KeepAliveOptions(keepalive_time_ms=30_000, keepalive_timeout_ms=5_000)
FINISHES: Final = {"stop": inference.FINISH_STOP, "length": inference.FINISH_LENGTH}
MESSAGE_CHARS: Final = 300


class TritonStudent:
    """A backend; see `backends.Backend`. One connection; a stream per ask, so that a cancelled ask stops in Triton.

    The model's name is the task's, its version the ask's. The confidence is the least of all log-probabilities.
    """

    def __init__(self, address: str) -> None:
        """`address` is Triton's gRPC as host:port. It need not be up."""
        self._client = InferenceServerClient(address, keepalive_options=KEEPALIVE)

    resumes = False

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        growing, failure = Growing(ask), None
        stream = self._client.stream_infer(_once(_fields(ask, on_text is not None)), stream_timeout=ask.timeout_s)
        try:
            async for result, error in stream:
                # Read on to the end: a stream cancelled as its last response arrives is kept by Triton for ever.
                if error is not None:
                    failure = _failed(error.message())
                elif (text := growing.add(result)) and on_text is not None:
                    on_text(text)
        except grpc.RpcError as error:
            raise _unreachable(error) from error
        except InferenceServerException as error:
            raise _failed(error.message()) from error
        finally:
            stream.cancel()  # Only in mid-answer does this do anything: it ends the generation.
        if failure is not None:
            raise failure
        return growing.attempt()

    async def close(self) -> None:
        await self._client.close()


async def _once(fields: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield fields


def _fields(ask: Ask, stream: bool) -> dict[str, Any]:
    version = str(ask.student_version)
    inputs = _inputs(ask, stream)
    return {"model_name": ask.task.name, "model_version": version, "inputs": inputs, "request_id": ask.exchange_id}


def _inputs(ask: Ask, stream: bool) -> list[InferInput]:
    sampling, limit = ask.request.sampling, ask.task.student.max_tokens
    max_tokens = min(sampling.max_tokens, limit) if sampling.HasField("max_tokens") else limit
    inputs = [
        _tensor("text_input", "BYTES", np.array([student_prompt(ask.task, ask.request).encode()], dtype=np.object_)),
        _tensor("max_tokens", "INT32", np.array([max_tokens], dtype=np.int32)),
        _tensor("temperature", "FP32", np.array([sampling.temperature], dtype=np.float32)),
        _tensor("stream", "BOOL", np.array([stream], dtype=np.bool_)),
    ]
    if sampling.HasField("top_p"):
        inputs.append(_tensor("top_p", "FP32", np.array([sampling.top_p], dtype=np.float32)))
    if sampling.HasField("seed"):
        inputs.append(_tensor("seed", "UINT64", np.array([sampling.seed], dtype=np.uint64)))
    if sampling.stop:
        stop = np.array([text.encode() for text in sampling.stop], dtype=np.object_)
        inputs.append(_tensor("stop", "BYTES", stop))
    return inputs


def _tensor(name: str, datatype: str, values: np.ndarray[Any, Any]) -> InferInput:
    return InferInput(name, list(values.shape), datatype).set_data_from_numpy(values)


class Growing:
    """An answer that comes in one response or in many."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._texts: list[str] = []
        self._finish = ""
        self._confidence = 0.0
        self._counted = False
        self._usage = inference.Usage()

    def add(self, result: Any) -> str:
        """Take a response in; returns its text. A last response may be empty."""
        try:
            return self._take(result)
        except (AttributeError, TypeError, UnicodeDecodeError) as error:  # An output is missing, or holds no text.
            raise BackendFailed(FailureKind.UNAVAILABLE, "what Triton sent is no student's answer") from error

    def _take(self, result: Any) -> str:
        texts = result.as_numpy("text_output")
        if texts is None or not texts.size:
            return ""
        self._texts.append(texts[0].decode())
        logprobs = result.as_numpy("logprobs")
        if logprobs.size:
            self._confidence = min(self._confidence, float(logprobs.min()))
            self._counted = True
        self._finish = result.as_numpy("finish_reason")[0].decode() or self._finish
        self._usage.prompt_tokens = int(result.as_numpy("prompt_tokens")[0])
        self._usage.completion_tokens = int(result.as_numpy("completion_tokens")[0])
        return self._texts[-1]

    def attempt(self) -> events.Attempt:
        """The whole answer. Raises BackendFailed if it did not come to an end."""
        if self._finish not in FINISHES:
            raise BackendFailed(FailureKind.UNAVAILABLE, f"its answer ended unfinished ({self._finish or 'no reason'})")
        attempt = events.Attempt(
            backend=inference.BACKEND_STUDENT,
            model=self._ask.task.student.training,
            student_version=self._ask.student_version,
            message=_message("".join(self._texts), self._ask.request),
            finish=FINISHES[self._finish],
            usage=self._usage,
        )
        if attempt.message.tool_calls:
            attempt.finish = inference.FINISH_TOOL_CALLS
        if self._counted:
            attempt.confidence = self._confidence
        return attempt


def _message(text: str, request: inference.Request) -> inference.Message:
    calls = tool_calls(text) if request.tools else []
    return inference.Message(role=inference.ROLE_ASSISTANT, content="" if calls else text, tool_calls=calls)


def _failed(message: str) -> BackendFailed:
    # The student names the field where the request is at fault, and marks its own faults with these words.
    field = message.partition(":")[0]
    refused = field in {"text_input", "max_tokens", "temperature", "top_p", "seed", "stop"}
    return BackendFailed(FailureKind.REFUSED if refused else FailureKind.UNAVAILABLE, message[:MESSAGE_CHARS])


def _unreachable(error: grpc.RpcError) -> BackendFailed:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return BackendFailed(FailureKind.TIMEOUT, "no answer in time")
    said = f"Triton: {error.code().name}: {error.details()}"
    return BackendFailed(FailureKind.UNAVAILABLE, said[:MESSAGE_CHARS])
