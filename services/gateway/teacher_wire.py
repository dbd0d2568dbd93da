"""The teacher's language: a request in OpenAI's chat-completions form, and its answers back. Pure."""

import json
from typing import Any, Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import ROLE_NAMES, Task

FINISHES: Final = {
    "stop": inference.FINISH_STOP,
    "length": inference.FINISH_LENGTH,
    "tool_calls": inference.FINISH_TOOL_CALLS,
    "function_call": inference.FINISH_TOOL_CALLS,
    "content_filter": inference.FINISH_CONTENT_FILTER,
}


def body(task: Task, request: inference.Request, model: str, token_limit_field: str) -> dict[str, Any]:
    """What is posted to /chat/completions, but for `stream`. Absent sampling fields are left to the teacher."""
    fields: dict[str, Any] = {"model": model, "messages": _messages(task, request)}
    fields[token_limit_field] = _max_tokens(task, request.sampling)
    for name in ("temperature", "top_p", "seed"):
        if request.sampling.HasField(name):
            fields[name] = _short(getattr(request.sampling, name))
    if request.sampling.stop:
        fields["stop"] = list(request.sampling.stop)
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
    if request.response_schema:
        schema = {"name": "answer", "schema": json.loads(request.response_schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def _messages(task: Task, request: inference.Request) -> list[dict[str, Any]]:
    given = [_message(message) for message in request.messages]
    has_instructions = any(message.role == inference.ROLE_SYSTEM for message in request.messages)
    if has_instructions or not task.instructions:
        return given
    return [{"role": "system", "content": task.instructions}, *given]


def _message(message: inference.Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": ROLE_NAMES[message.role], "content": message.content}
    if message.tool_calls:
        fields["content"] = message.content or None
        fields["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _tool_call(call: inference.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool(tool: inference.Tool) -> dict[str, Any]:
    parameters = json.loads(tool.parameters) if tool.parameters else {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _max_tokens(task: Task, sampling: inference.Sampling) -> int:
    limit = task.limits.max_completion_tokens
    return min(sampling.max_tokens, limit) if sampling.HasField("max_tokens") else limit


def _short(number: float) -> float:
    """A float32 as a person wrote it: 0.7, not 0.699999988079071."""
    return number if isinstance(number, int) else float(f"{number:.7g}")


class Growing:
    """An answer that comes whole or piece by piece, each a `message` or `delta` object of the API."""

    def __init__(self, model: str) -> None:
        self._content: list[str] = []
        self._calls: dict[int, inference.ToolCall] = {}
        self._attempt = events.Attempt(backend=inference.BACKEND_TEACHER, model=model)

    def add(self, piece: Any, finish_reason: str | None) -> str:
        """Take a piece in; returns its text, '' where it has none."""
        text = str(getattr(piece, "content", None) or "")
        self._content.append(text)
        for place, call in enumerate(getattr(piece, "tool_calls", None) or ()):
            self._add_call(getattr(call, "index", None) or place, call)
        if finish_reason:
            self._attempt.finish = FINISHES.get(finish_reason, inference.FINISH_STOP)
        return text

    def _add_call(self, place: int, call: Any) -> None:
        grown = self._calls.setdefault(place, inference.ToolCall())
        grown.id = call.id or grown.id
        if call.function is not None:
            grown.name += call.function.name or ""
            grown.arguments += call.function.arguments or ""

    def used(self, usage: Any) -> None:
        """Take in what the API says was used; an API that says nothing leaves 0 tokens, and so no cost."""
        if usage is not None:
            self._attempt.usage.prompt_tokens = usage.prompt_tokens or 0
            self._attempt.usage.completion_tokens = usage.completion_tokens or 0

    def attempt(self) -> events.Attempt:
        """The whole answer."""
        calls = [self._calls[place] for place in sorted(self._calls)]
        message = inference.Message(role=inference.ROLE_ASSISTANT, content="".join(self._content), tool_calls=calls)
        self._attempt.message.CopyFrom(message)
        return self._attempt
