"""What a request must be before anybody is asked. Pure; errors name the field, the limit and what was given."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from protos import inference_pb2 as inference
from services.gateway.fields import BadInput, UnknownTask, check_count, check_size, check_text, check_uuid, numbered
from services.gateway.schemas import check_schemas
from services.tasks import ROLE_NAMES, Task

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RequestLimits(BaseModel):
    """Limits that hold for every task; a task's own stand in its `limits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: int = Field(128, ge=0)
    schema_bytes: int = Field(262_144, ge=0)  # All tools' parameters and descriptions and the response_schema.
    stop_texts: int = Field(4, ge=0, le=4)
    stop_bytes: int = Field(256, ge=1)
    metadata_entries: int = Field(32, ge=0)
    metadata_key_bytes: int = Field(64, ge=1)
    metadata_value_bytes: int = Field(1_024, ge=0)
    group_key_bytes: int = Field(256, ge=1)
    feedback_bytes: int = Field(65_536, ge=1)  # Of a correction and of a comment, each.


def check_request(request: inference.Request, tasks: Mapping[str, Task], limits: RequestLimits) -> Task:
    """The request's task. Raises BadInput or UnknownTask."""
    task = check_task(request.task, tasks)
    if request.request_id:
        check_uuid("request_id", request.request_id)
    check_text("group_key", request.group_key, limits.group_key_bytes)
    _check_messages(request, task)
    if request.tools or request.response_schema:
        _check_tools(request, limits)
    if request.HasField("sampling"):
        _check_sampling(request.sampling, limits)
    if request.metadata:
        _check_metadata(request.metadata, limits)
    return task


def check_task(name: str, tasks: Mapping[str, Task]) -> Task:
    """The task of that name. Raises BadInput where none is given, UnknownTask where it is not defined."""
    if name in tasks:
        return tasks[name]
    defined = ", ".join(sorted(tasks))
    if not name:
        raise BadInput(f"task: is missing; defined are {defined}")
    raise UnknownTask(f"task: {name[:64]!r} is not defined; defined are {defined}")


def _check_messages(request: inference.Request, task: Task) -> None:
    if not request.messages:
        raise BadInput("messages: are empty; at least one is needed")
    check_count("messages", len(request.messages), task.limits.max_messages)
    asked = False
    for place, message in enumerate(request.messages):
        if message.role == inference.ROLE_USER and not message.tool_calls and message.content.strip():
            asked = True  # As nearly all are; the field's name is made where it is needed.
        else:
            _check_message(f"messages[{place}]", message)
    if not asked:
        raise BadInput("messages: none is of ROLE_USER; at least one is needed")
    if request.ByteSize() > task.limits.max_input_bytes:  # With all else that it holds: else one need not count.
        _check_input(request, task.limits.max_input_bytes)


def _check_input(request: inference.Request, max_bytes: int) -> None:
    size = sum(_size(message) for message in request.messages)
    if size > max_bytes:
        raise BadInput(f"messages: {size} bytes in all are above the task's limit of {max_bytes}")


def _size(message: inference.Message) -> int:
    called = (text for call in message.tool_calls for text in (call.id, call.name, call.arguments))
    return sum(len(text.encode()) for text in (message.content, message.tool_call_id, *called))


def _check_message(field: str, message: inference.Message) -> None:
    if message.role not in ROLE_NAMES:
        raise BadInput(f"{field}.role: {message.role} is none of ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL")
    if message.tool_calls and message.role != inference.ROLE_ASSISTANT:
        raise BadInput(f"{field}.tool_calls: only a message of ROLE_ASSISTANT has them")
    if message.role == inference.ROLE_TOOL and not message.tool_call_id:
        raise BadInput(f"{field}.tool_call_id: is missing; a message of ROLE_TOOL names the call it answers")
    # Instructions and earlier answers may be empty, and a tool may well return nothing.
    if message.role == inference.ROLE_USER and not message.content.strip():
        raise BadInput(f"{field}.content: is empty")
    for place, call in numbered(f"{field}.tool_calls", message.tool_calls):
        _check_tool_name(f"{place}.name", call.name)
        _check_object(f"{place}.arguments", call.arguments)


def _check_object(field: str, text: str) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{field}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{field}: not a JSON object: {text[:40]!r}")


def _check_tools(request: inference.Request, limits: RequestLimits) -> None:
    check_count("tools", len(request.tools), limits.tools)
    texts = [text for tool in request.tools for text in (tool.description, tool.parameters)]
    size = sum(len(text.encode()) for text in (*texts, request.response_schema))
    if size > limits.schema_bytes:
        raise BadInput(f"tools, response_schema: {size} bytes in all are above the limit of {limits.schema_bytes}")
    seen: set[str] = set()
    for field, tool in numbered("tools", request.tools):
        _check_tool_name(f"{field}.name", tool.name)
        if tool.name in seen:
            raise BadInput(f"{field}.name: {tool.name!r} is there twice")
        seen.add(tool.name)
    check_schemas(_schemas(request))


def _schemas(request: inference.Request) -> Iterator[tuple[str, str]]:
    for field, tool in numbered("tools", request.tools):
        if tool.parameters:
            yield f"{field}.parameters", tool.parameters
    if request.response_schema:
        yield "response_schema", request.response_schema


def _check_tool_name(field: str, name: str) -> None:
    if not TOOL_NAME.fullmatch(name):
        raise BadInput(f"{field}: {name[:64]!r} must be 1 to 64 letters, digits, underscores and hyphens")


def _check_sampling(sampling: inference.Sampling, limits: RequestLimits) -> None:
    # Written so that NaN, of which every comparison is false, is refused.
    if sampling.HasField("temperature") and not 0 <= sampling.temperature <= 2:
        raise BadInput(f"sampling.temperature: {sampling.temperature:g} is not from 0 to 2")
    if sampling.HasField("top_p") and not 0 < sampling.top_p <= 1:
        raise BadInput(f"sampling.top_p: {sampling.top_p:g} is not above 0 and up to 1")
    if sampling.HasField("max_tokens") and not sampling.max_tokens:
        raise BadInput("sampling.max_tokens: 0 is not at least 1")
    check_count("sampling.stop", len(sampling.stop), limits.stop_texts)
    for field, text in numbered("sampling.stop", sampling.stop):
        if not text:
            raise BadInput(f"{field}: is empty")
        check_size(field, text, limits.stop_bytes)


def _check_metadata(metadata: Mapping[str, str], limits: RequestLimits) -> None:
    check_count("metadata", len(metadata), limits.metadata_entries)
    for key, value in metadata.items():
        if not key:
            raise BadInput("metadata: a key is empty")
        check_text("metadata key", key, limits.metadata_key_bytes)
        check_size(f"metadata[{key!r}]", value, limits.metadata_value_bytes)
