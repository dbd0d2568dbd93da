"""Our replies and refusals in the shapes of OpenAI's chat completions. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
from pydantic_core import to_json

from protos import inference_pb2 as inference
from services import openai_request
from services.gateway.door import Refusal
from services.gateway.hints import is_pointless
from services.gateway.http_fields import ID_PREFIX, field_of
from services.gateway.standing import NAMES
from services.openai_request import MODEL_PREFIX

WORDS: Final = {
    **{finish: word for word, finish in openai_request.FINISHES.items() if word != "function_call"},
    inference.FINISH_UNSPECIFIED: "length",  # OpenAI's one word for an answer that may not be whole.
}
ERRORS: Final[Mapping[grpc.StatusCode, tuple[int, str, str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "invalid_request_error", "invalid_value"),
    grpc.StatusCode.UNAUTHENTICATED: (401, "authentication_error", "invalid_api_key"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "permission_error", "permission_denied"),
    grpc.StatusCode.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error", "rate_limit_exceeded"),
    grpc.StatusCode.FAILED_PRECONDITION: (502, "server_error", "answer_not_valid"),
    grpc.StatusCode.ABORTED: (503, "server_error", "answer_replaced"),
    grpc.StatusCode.UNAVAILABLE: (503, "server_error", "unavailable"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (504, "server_error", "timeout"),
}
"""Each gRPC status as HTTP says it: the status, and the error's type and code. Others are 500."""
INTERNAL: Final = (500, "server_error", "internal_error")
COME_AGAIN_S: Final = 1.0
"""Where too much is going on and nobody knows for how long: calls last seconds."""
NOT_A_HEADER: Final = dict.fromkeys((*range(32), 127), "?")


def completion(reply: inference.Reply, task: str, created_s: int) -> dict[str, Any]:
    """A whole answer; `created_s` since 1970."""
    choice = {
        "index": 0,
        "message": _message(reply.message),
        "logprobs": None,
        "finish_reason": WORDS[reply.finish],
    }
    begun = head("chat.completion", reply.exchange_id, task, created_s)
    return {**begun, "choices": [choice], "usage": usage(reply.usage), "tutelage": extension(reply)}


def extension(reply: inference.Reply) -> dict[str, Any]:
    """What OpenAI's shape has no place for: who answered, why, and what it cost."""
    told: dict[str, Any] = {
        "exchange_id": reply.exchange_id,
        "answered_by": NAMES.get(reply.answered_by, "nobody"),
        "model": reply.model,
        "student_version": reply.student_version,
        "why": reply.why,
        "cost_usd": reply.cost_usd,
        "cached": reply.cached,
        "total_us": reply.timings.total_us,
    }
    if reply.HasField("confidence"):
        told["confidence"] = reply.confidence
    return told


def headers(reply: inference.Reply) -> dict[str, str]:
    """The same for those who see headers alone."""
    told = {
        "x-request-id": reply.exchange_id,
        "x-tutelage-exchange-id": reply.exchange_id,
        "x-tutelage-answered-by": NAMES.get(reply.answered_by, "nobody"),
        "x-tutelage-model": reply.model,
        "x-tutelage-student-version": str(reply.student_version),
        "x-tutelage-cost-usd": reply.cost_usd,
    }
    return {name: value.translate(NOT_A_HEADER) for name, value in told.items()}


def encode(data: Mapping[str, Any]) -> bytes:
    """JSON, as bytes."""
    return to_json(data)  # Of what is installed anyway the fastest.


def refusal_of(refusal: Refusal) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The status, the body and the headers that tell a caller why there is no answer."""
    status, kind, code = ERRORS.get(refusal.code, INTERNAL)
    field = field_of(str(refusal)) if status in (400, 404) else None  # Others speak of keys and limits.
    return status, error(str(refusal), kind, code, field), _come_again(refusal)


def error(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def models(tasks: Iterable[str], created_s: int) -> dict[str, Any]:
    """The tasks as a list of models."""
    return {"object": "list", "data": [model(task, created_s) for task in sorted(tasks)]}


def model(task: str, created_s: int) -> dict[str, Any]:
    """A task as a model."""
    return {"id": f"{MODEL_PREFIX}{task}", "object": "model", "created": created_s, "owned_by": "tutelage"}


def _come_again(refusal: Refusal) -> dict[str, str]:
    after_s = refusal.retry_after_s
    if after_s is None and refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        after_s = COME_AGAIN_S
    pointless = (
        {"x-should-retry": "false"} if is_pointless(refusal.code, after_s) else {}
    )  # The openai packages heed it.
    if after_s is None:
        return pointless
    # The second is for the openai packages: the first knows only whole seconds.
    return pointless | {"retry-after": str(math.ceil(after_s)), "retry-after-ms": str(math.ceil(after_s * 1000))}


def head(kind: str, exchange_id: str, task: str, created_s: int) -> dict[str, Any]:
    """What every object of a completion begins with."""
    # The model is the one asked: who answers is not known when a stream begins.
    return {"id": ID_PREFIX + exchange_id, "object": kind, "created": created_s, "model": MODEL_PREFIX + task}


def _message(message: inference.Message) -> dict[str, Any]:
    called = calls(message)
    content = message.content or (None if called else "")
    told: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    return {**told, "tool_calls": called} if called else told


def calls(message: inference.Message) -> list[dict[str, Any]]:
    """A message's tool calls."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]


def usage(used: inference.Usage) -> dict[str, int]:
    """Tokens."""
    read, written = used.prompt_tokens, used.completion_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
