"""OpenAI's chat-completion shapes as pydantic models: what we read of them. Other keys are kept in `model_extra`."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_MESSAGES = 256
MAX_TOOLS = 128
MAX_METADATA = 32
CONTENT_TAGS: Final = ("<text>", "<parts>")

Short = Annotated[str, StringConstraints(max_length=1024)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Label = Annotated[Short, BeforeValidator(lambda given: str(given) if isinstance(given, int | float) else given)]
"""A text, or a number or a truth value as one."""
Seconds = Annotated[float, Field(strict=True, ge=0, le=253_402_300_799)]
"""Since 1970 UTC, up to the end of the year 9999."""


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class TextPart(_Shape):
    """A part of a message; pictures and sound are not taken."""

    type: Literal["text"]
    text: str


class Function(_Shape):
    """A function that a model wants called; arguments are JSON as text."""

    name: str
    arguments: str = "{}"


class ToolCall(_Shape):
    """A call of a tool."""

    id: str = ""
    type: Literal["function"] = "function"
    function: Function


def _content_tag(content: object) -> str:
    """By the tag an error speaks of the parts that were sent, and not of the text that might have been."""
    return CONTENT_TAGS[isinstance(content, list)]


_Text = Annotated[str, Tag(CONTENT_TAGS[False])]
_Parts = Annotated[list[TextPart], Tag(CONTENT_TAGS[True])]
_Content = Annotated[_Text | _Parts, Discriminator(_content_tag)]


class ChatMessage(_Shape):
    """A message of a request or an answer."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: _Content | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        parts = self.content or ""
        return parts if isinstance(parts, str) else "".join(part.text for part in parts)


class FunctionDefinition(_Shape):
    """A function that may be called; parameters are a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(_Shape):
    """A tool that may be called."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class NamedSchema(_Shape):
    """The schema inside a response format."""

    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(_Shape):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise PydanticCustomError("missing", "json_schema is missing; for any object take type json_object")
        return self


def _listed(texts: object) -> object:
    return [texts] if isinstance(texts, str) else texts


class ChatRequest(_Shape):
    """The body of a chat-completion request, with our own `task`, `group_key` and `request_id`."""

    task: Short | None = None
    model: Short | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[Count, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Count, Field(ge=1)] | None = None
    stop: Annotated[list[Short], Field(max_length=4), BeforeValidator(_listed)] | None = None
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**64)] | None = None
    n: Literal[1] | None = None
    metadata: Annotated[dict[Short, Label], Field(max_length=MAX_METADATA)] | None = None
    user: Short | None = None
    group_key: Short | None = None
    id: Short | None = None
    request_id: Short | None = None
    response_format: ResponseFormat | None = None


class Usage(_Shape):
    """Tokens."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0


class Choice(_Shape):
    """One of the answers; we read the first."""

    message: ChatMessage
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | None = None


class ChatResponse(_Shape):
    """The body of a chat-completion response."""

    id: Short | None = None
    model: Short = ""
    created: Seconds | None = None
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Usage | None = None
