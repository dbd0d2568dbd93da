"""OpenAI's chat-completion request as a call by HTTP brings it, into ours; pure. BadInput says what is wrong."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.gateway.fields import BadInput
from services.gateway.http_fields import UNLESS, check_carried, read_body, task_name
from services.openai_request import request_of
from services.openai_shapes import ChatRequest, Short

PRIORITIES: Final = {"flex": inference.PRIORITY_LOW, "priority": inference.PRIORITY_HIGH}
IDEMPOTENCY_KEY: Final = "idempotency-key"
TIMEOUT_MS: Final = "x-tutelage-timeout-ms"
CLIENT_TIMEOUT_S: Final = "x-stainless-timeout"
RESTART: Final = "x-tutelage-restart"


class StreamOptions(BaseModel):
    """How a stream ends."""

    model_config = ConfigDict(frozen=True, extra="allow")

    include_usage: bool = False


class ChatBody(ChatRequest):
    """The body of a call; what else it holds, at any place, is refused or told to be ignored."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    safety_identifier: Short | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with what only its HTTP call knows of it."""

    request: inference.Request
    authorization: str
    timeout_ms: int | None  # The caller's deadline; None leaves the task's budget.
    client_timeout_s: float | None  # When the caller's client gives up: never later than that.
    streams: bool
    includes_usage: bool
    bears_restart: bool
    ignored: tuple[str, ...]  # Fields of the body, at any place, that have no effect.
    traceparent: str = ""

    def remaining_s(self, budget_ms: int) -> float:
        """Seconds until the deadline, of a task with that latency budget."""
        if self.timeout_ms is not None:
            return self.timeout_ms / 1000
        return min(budget_ms / 1000, self.client_timeout_s or budget_ms / 1000)


def read_chat(body: bytes, headers: Mapping[str, str]) -> Asked:
    """The call. Raises BadInput, or UnknownTask where `model` is no task's name. `headers` by names in any case."""
    chat = read_body(ChatBody, body)
    extra = chat.model_extra or {}
    check_carried(extra)
    if chat.request_id is None and headers.get(IDEMPOTENCY_KEY):
        chat = chat.model_copy(update={"request_id": headers[IDEMPOTENCY_KEY][:1024]})
    request = _request(chat)
    if extra.get("tool_choice") == "none":
        del request.tools[:]
    return Asked(
        request,
        headers.get("authorization", ""),
        timeout_ms=_milliseconds(headers.get(TIMEOUT_MS)),
        client_timeout_s=_seconds(headers.get(CLIENT_TIMEOUT_S, "")),
        streams=bool(chat.stream),
        includes_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        bears_restart=headers.get(RESTART, "") == "allow",
        ignored=tuple(sorted({name for name in unread(chat) if name not in UNLESS})),
        traceparent=headers.get("traceparent", ""),
    )


def unread(shape: BaseModel, where: str = "") -> Iterator[str]:
    """The names of what a body holds beyond its shape, as `messages[].name`. Within another, null is nothing."""
    for name, value in (shape.model_extra or {}).items():
        if value is not None or not where:
            yield f"{where}{name[:64]}"
    for name, value in vars(shape).items():
        if isinstance(value, BaseModel):
            yield from unread(value, f"{where}{name}.")
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, BaseModel):
                    yield from unread(inner, f"{where}{name}[].")


def _request(chat: ChatBody) -> inference.Request:
    try:
        request = request_of(chat, chat.task or task_name(chat.model or ""))
    except BadEvent as error:
        raise BadInput(error.reason) from error
    request.group_key = request.group_key or chat.safety_identifier or ""
    request.priority = PRIORITIES.get(chat.service_tier or "", inference.PRIORITY_UNSPECIFIED)
    return request


def _milliseconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 9 and int(text)):
        raise BadInput(f"{TIMEOUT_MS}: {text[:20]!r} is not a whole number of milliseconds above 0")
    return int(text)


def _seconds(text: str) -> float | None:
    """What the openai packages say of their own timeout; None where they say nothing that helps."""
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) and float(text) > 0 else None
