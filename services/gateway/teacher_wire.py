"""The teacher's language: a request in OpenAI's chat-completions form. Pure."""

from typing import Any, Final, Literal

import msgspec

from protos import inference_pb2 as inference
from services.gateway.backends import Ask
from services.gateway.estimates import written_most
from services.openai_request import SEEDS
from services.tasks import ROLE_NAMES, Task

HttpVersion = Literal["auto", "1.1", "2"]
Resumes = Literal["no", "continue_final_message", "prefix", "repeated_prefix"]
"""How an API is asked to go on from the beginning of an answer, given as the last message: by vLLM's and SGLang's
`continue_final_message`, or by the `prefix` of DeepSeek's and Mistral's message. `repeated_prefix`: its answer begins
with the prefix again, as Mistral's does."""
NO_PARAMETERS: Final = b'{"type":"object","properties":{}}'


def body(
    ask: Ask,
    model: str,
    *,
    token_limit_field: str = "max_tokens",  # noqa: S107 - no secret
    resumes: Resumes = "no",
    streams: bool = False,
) -> bytes:
    """What is posted to /chat/completions, as JSON. Absent sampling fields are left to the teacher."""
    request = ask.request
    fields: dict[str, Any] = {"model": model, "messages": _messages(ask.task, request)}
    fields[token_limit_field] = written_most(ask.task, request)
    if request.HasField("sampling"):
        fields |= sampled(request.sampling)
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
    if request.response_schema and not ask.partial:  # Constrained from anew, it could not go on in the middle.
        schema = {"name": "answer", "schema": msgspec.Raw(request.response_schema.encode())}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if streams:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    if ask.partial:
        _go_on(fields, ask.partial, resumes)
    return msgspec.json.encode(fields)


def _go_on(fields: dict[str, Any], partial: str, resumes: Resumes) -> None:
    begun: dict[str, Any] = {"role": "assistant", "content": partial}
    if resumes == "continue_final_message":
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    else:
        begun["prefix"] = True
    fields["messages"].append(begun)


def sampled(sampling: inference.Sampling) -> dict[str, Any]:
    """How the answer is to be drawn, of what was said of that; but for how long it may be."""
    fields: dict[str, Any] = {
        name: _short(getattr(sampling, name)) for name in ("temperature", "top_p") if sampling.HasField(name)
    }
    if sampling.HasField("seed"):
        fields["seed"] = sampling.seed - (SEEDS if sampling.seed >= SEEDS // 2 else 0)  # APIs take 64 bits with a sign.
    return fields | {"stop": list(sampling.stop)} if sampling.stop else fields


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
    parameters = msgspec.Raw(tool.parameters.encode() if tool.parameters else NO_PARAMETERS)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _short(number: float) -> float:
    """A float32 as a person wrote it: 0.7, not 0.699999988079071."""
    return float(f"{number:.7g}")
