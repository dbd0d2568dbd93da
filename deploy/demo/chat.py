"""The shapes of OpenAI's chat completions API, as far as the stand-in teacher speaks it. Pure but for `error`."""

import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

Head = dict[str, Any]  # id, created and model: what all parts of an answer carry.

END: Final = b"data: [DONE]\n\n"


class Message(BaseModel):
    """One message of the chat; content may come in parts, of which the texts count."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        parts = self.content if isinstance(self.content, list) else [{"text": self.content}]
        return "".join(str(part.get("text") or "") for part in parts)


class StreamOptions(BaseModel):
    """What a stream carries besides the answer."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is read of a request; anything else that OpenAI's API knows is accepted."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer before it is sent."""

    pieces: list[str]
    finish: str
    prompt_tokens: int
    latency_s: float

    @property
    def usage(self) -> dict[str, int]:
        written = len(self.pieces)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


def completion(head: Head, answer: Answer) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": "".join(answer.pieces), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": answer.usage}


def chunk(head: Head, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    """A part of a streamed answer."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**head, "object": "chat.completion.chunk", "choices": [choice]}


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def error(status: int, message: str, param: str | None = None, code: str | None = None) -> web.Response:
    """A refusal as OpenAI's API words it."""
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": body}, status=status)
