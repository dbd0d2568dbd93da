"""OpenAI's chat-completion request into ours; pure. What can't be read is a BadEvent that says what is wrong."""

import json
import uuid
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from google.protobuf.message import EncodeError
from pydantic import BaseModel, ValidationError

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.openai_shapes import CONTENT_TAGS, ChatMessage, ChatRequest, ResponseFormat

MAX_BYTES: Final = 1024 * 1024
"""Of one request or exchange, as protobuf; Apache Kafka's own default for a message."""
NAMESPACE: Final = uuid.UUID("6f9d1c1e-7d0b-5c8e-9a53-1f6a4f1f5f10")
"""Makes ids from content: the same line always becomes the same exchange."""
MODEL_PREFIX: Final = "tutelage/"
SEEDS: Final = 2**64
"""A negative one, OpenAI's being of 64 bits with a sign, is the one without a sign of the same bits."""
ANY_OBJECT: Final = '{"type": "object"}'
"""What `json_object` asks for."""
PRODUCER_ID: Final = "producer_id"
FINISHES: Final = {
    "stop": inference.FINISH_STOP,
    "length": inference.FINISH_LENGTH,
    "tool_calls": inference.FINISH_TOOL_CALLS,
    "function_call": inference.FINISH_TOOL_CALLS,
    "content_filter": inference.FINISH_CONTENT_FILTER,
}
"""Why an answer ended, in OpenAI's words; `function_call` is of old APIs."""
ROLES: Final = {
    "system": inference.ROLE_SYSTEM,
    "developer": inference.ROLE_SYSTEM,
    "user": inference.ROLE_USER,
    "assistant": inference.ROLE_ASSISTANT,
    "tool": inference.ROLE_TOOL,
}
Shape = TypeVar("Shape", bound=BaseModel)
Sized = TypeVar("Sized", inference.Request, events.Exchange)


def parse_request(data: Any) -> inference.Request:
    """A chat-completion request body as a Request. The task stands in `task`, or in `model` as `tutelage/<task>`.

    An id that is no UUID becomes one, always the same, and is kept in the metadata as `producer_id`.
    """
    chat = read_shape(ChatRequest, data, "")
    task = chat.task or (chat.model or "").removeprefix(MODEL_PREFIX)
    if not chat.task and not (chat.model or "").startswith(MODEL_PREFIX):
        raise BadEvent(f"task: is missing, and model is not {MODEL_PREFIX}<task>")
    return sized(request_of(chat, task))


def read_shape(shape: type[Shape], data: Any, where: str) -> Shape:
    """`data` as that shape; a BadEvent names the first key that is wrong, after `where`."""
    try:
        return shape.model_validate(data)
    except (ValidationError, RecursionError) as error:
        raise BadEvent(f"{where}{first_problem(error)}"[:500]) from error


def first_problem(error: ValidationError | RecursionError) -> str:
    """The first key that is wrong, and why; without its value."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{_place(problem['loc'])}: {problem['msg']}"


def _place(loc: Iterable[int | str]) -> str:
    """Where in the JSON it is, as people write it: `messages[0].content`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in loc if part not in CONTENT_TAGS]
    return "".join(parts).removeprefix(".")


def request_of(chat: ChatRequest, task: str) -> inference.Request:
    """The request of a task that a chat-completion body asks."""
    given = chat.request_id or chat.id or ""
    labels = {PRODUCER_ID: given} if given and not as_uuid(given) else {}
    with readable():
        return inference.Request(
            task=task,
            messages=[message_of(message) for message in chat.messages],
            tools=_tools(chat),
            sampling=_sampling(chat),
            metadata={**(chat.metadata or {}), **labels},
            request_id=as_uuid(given) or (str(uuid.uuid5(NAMESPACE, f"{task}\x00{given}")) if given else ""),
            group_key=chat.group_key or chat.user or "",
            response_schema=_schema(chat.response_format),
        )


def _schema(format_: ResponseFormat | None) -> str:
    """The JSON Schema of the answer, as text; '' where any answer will do."""
    if format_ is None or format_.type == "text":
        return ""
    return json.dumps(format_.json_schema.json_schema) if format_.json_schema else ANY_OBJECT


def _sampling(chat: ChatRequest) -> inference.Sampling | None:
    """How to draw the answer; None where the request says nothing of it."""
    sampling = inference.Sampling(
        temperature=chat.temperature,
        top_p=chat.top_p,
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        stop=chat.stop or (),
        seed=None if chat.seed is None else chat.seed % SEEDS,
    )
    return sampling if sampling.ListFields() else None


def message_of(message: ChatMessage) -> inference.Message:
    """One message, its tool calls included."""
    calls = [
        inference.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in message.tool_calls or ()
    ]
    return inference.Message(
        role=ROLES[message.role], content=message.text, tool_calls=calls, tool_call_id=message.tool_call_id or ""
    )


def _tools(chat: ChatRequest) -> Iterable[inference.Tool]:
    for tool in chat.tools or ():
        described = tool.function
        parameters = "" if described.parameters is None else json.dumps(described.parameters, ensure_ascii=False)
        yield inference.Tool(name=described.name, description=described.description or "", parameters=parameters)


def as_uuid(value: object) -> str:
    """The UUID in its usual form, '' where it is none."""
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) and len(value) == 36 else ""
    except ValueError:
        return ""


def sized(message: Sized) -> Sized:
    """The message itself. Raises BadEvent above MAX_BYTES."""
    if (size := message.ByteSize()) > MAX_BYTES:
        raise BadEvent(f"{size} bytes are above the limit of {MAX_BYTES}")
    return message


class readable:  # noqa: N801 - reads as a phrase
    """Texts that JSON can say and protobuf can't (half a surrogate pair) are bad events."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnicodeError | EncodeError | RecursionError):
            raise BadEvent(f"can't be stored: {error}"[:300]) from error
