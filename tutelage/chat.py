"""The messages of a chat, as the proto's or in OpenAI's shape; pure. What can't be sent is refused, never left out."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from protos import inference_pb2 as inference

Messages = str | Iterable[inference.Message | Mapping[str, Any]]
"""A user's text; or the chat so far, each message as the proto's or as OpenAI's: {"role": "user", "content": "..."}."""
ROLES: Final = {
    "system": inference.ROLE_SYSTEM,
    "user": inference.ROLE_USER,
    "assistant": inference.ROLE_ASSISTANT,
    "tool": inference.ROLE_TOOL,
}
_KEYS: Final = ("role", "content", "tool_calls", "tool_call_id")
_CALL: Final = '{"id": "...", "type": "function", "function": {"name": "...", "arguments": "{...}"}}'


def chat(given: Messages) -> list[inference.Message]:
    """The messages as the proto's. Raises ValueError or TypeError, which name the message and say what to change."""
    if isinstance(given, str):
        return [inference.Message(role=inference.ROLE_USER, content=given)]
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"messages is a {type(given).__name__}: give a text, or a list of messages")
    return [_message(one, f"messages[{place}]") for place, one in enumerate(given)]


def _message(given: inference.Message | Mapping[str, Any], where: str) -> inference.Message:
    if isinstance(given, inference.Message):
        return given
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise TypeError(f'{where} is a {kind}: give {{"role": "user", "content": "..."}} or an inference_pb2.Message')
    if unknown := [key for key, value in given.items() if key not in _KEYS and value]:
        raise ValueError(f"{where}: {unknown[0]!r} can't be sent, only {', '.join(_KEYS)}: leave it out")
    role = given.get("role", "")
    if role not in ROLES:
        raise ValueError(f"{where}: role {role!r} is none of {', '.join(ROLES)}")
    calls = [_call(one, f"{where}.tool_calls[{place}]") for place, one in enumerate(given.get("tool_calls") or ())]
    return inference.Message(
        role=ROLES[role],
        content=_content(given.get("content"), where, may_lack=bool(calls)),
        tool_calls=calls,
        tool_call_id=given.get("tool_call_id") or "",
    )


def _content(given: Any, where: str, *, may_lack: bool) -> str:
    if given is None and may_lack:
        return ""
    if given is None:
        raise ValueError(f'{where}: content is missing; an empty text is ""')
    if not isinstance(given, str):
        raise TypeError(f"{where}: content is a {type(given).__name__}: give its text")
    return given


def _call(given: inference.ToolCall | Mapping[str, Any], where: str) -> inference.ToolCall:
    if isinstance(given, inference.ToolCall):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} is a {type(given).__name__}: give {_CALL}")
    function = given.get("function")
    function = function if isinstance(function, Mapping) else {}
    told = [given.get("id"), function.get("name"), function.get("arguments")]
    if not all(isinstance(one, str) for one in told):
        raise ValueError(f"{where}: id, function.name and function.arguments must be texts: {_CALL}")
    return inference.ToolCall(id=told[0], name=told[1], arguments=told[2])
