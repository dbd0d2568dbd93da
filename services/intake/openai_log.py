"""OpenAI-shaped requests and logs into our messages; pure. What can't be read is a BadEvent that says what is wrong.

A log line is one of: `{"request": {...}, "response": {...}}`; a request with `"response"` beside its keys; a batch's
line with `body` (the request) and `response` joined by `custom_id`; a fine-tuning example, whose last message is the
assistant's. `request` and `response` may wrap theirs in `body`, as batch files do.
"""

import uuid
from typing import Any

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.openai_request import (
    FINISHES,
    MAX_BYTES,
    NAMESPACE,
    as_uuid,
    message_of,
    parse_request,
    read_shape,
    readable,
    request_of,
    sized,
)
from services.openai_shapes import ChatRequest, ChatResponse

__all__ = ["MAX_BYTES", "NAMESPACE", "parse_log", "parse_request"]


def parse_log(line: Any, task: str) -> events.Exchange:
    """A log line as an answered exchange of the teacher. `source` and `sequence` are the importer's to set.

    Its id is the line's, the request's or the response's where that is a UUID; else it follows from the content, so
    that a line imported twice is one exchange. Without a time in the log, it happened now.
    """
    if not isinstance(line, dict):
        raise BadEvent(f"not a JSON object but {type(line).__name__}")
    asked, answered = _halves(line)
    chat = read_shape(ChatRequest, asked, "request.")
    response = read_shape(ChatResponse, answered, "response.")
    request = request_of(chat, task)
    exchange = events.Exchange(request=request, outcome=events.OUTCOME_ANSWERED, origin="import")
    _reply(exchange.reply, response)
    given = (line.get("id"), line.get("request_id"), chat.request_id, chat.id, response.id)
    exchange.id = next((found for found in map(as_uuid, given) if found), "") or _id_of_content(exchange)
    exchange.request.request_id = exchange.reply.exchange_id = exchange.id
    _date(exchange, response)
    return sized(exchange)


def _halves(line: dict[str, Any]) -> tuple[Any, Any]:
    """The request's and the response's body."""
    asked = line.get("request", line.get("body", line))
    asked = asked["body"] if isinstance(asked, dict) and "messages" not in asked and "body" in asked else asked
    if not isinstance(asked, dict) or "messages" not in asked:
        raise BadEvent("request: no messages; join a batch's output with its input by custom_id")
    response = line.get("response")
    if response is None and asked is line:
        return _example(asked)
    if isinstance(response, str):
        return asked, {"choices": [{"message": {"role": "assistant", "content": response}, "finish_reason": "stop"}]}
    if isinstance(response, dict) and "body" in response:
        if response.get("status_code", 200) != 200:
            raise BadEvent(f"response.status_code: {str(response['status_code'])[:20]} is not 200")
        return asked, response["body"]
    if not isinstance(response, dict):
        raise BadEvent("response: is missing, or is neither a text nor an object")
    return asked, response


def _example(line: dict[str, Any]) -> tuple[Any, Any]:
    """A fine-tuning example: its last message is the answer."""
    messages = line["messages"]
    if not isinstance(messages, list) or len(messages) < 2:
        raise BadEvent("messages: a line without response must hold a request and, last, the assistant's answer")
    *turns, last = messages
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise BadEvent("messages: a line without response must end with the assistant's message")
    why = "tool_calls" if last.get("tool_calls") else "stop"
    return {**line, "messages": turns}, {"choices": [{"message": last, "finish_reason": why}]}


def _reply(reply: inference.Reply, response: ChatResponse) -> None:
    choice, usage = response.choices[0], response.usage
    if choice.message.role != "assistant":
        raise BadEvent(f"response.choices.0.message.role: {choice.message.role!r} is not 'assistant'")
    if not choice.message.text.strip() and not choice.message.tool_calls:
        raise BadEvent("response.choices.0.message: is empty")
    with readable():
        reply.message.CopyFrom(message_of(choice.message))
        reply.model = response.model
    reply.answered_by, reply.why = inference.BACKEND_TEACHER, "imported"
    # Fine-tuning files and trimmed logs give no reason: what somebody kept as an answer had come to its end.
    reply.finish = FINISHES.get(choice.finish_reason or "stop", inference.FINISH_UNSPECIFIED)
    if usage:
        reply.usage.prompt_tokens, reply.usage.completion_tokens = usage.prompt_tokens, usage.completion_tokens


def _date(exchange: events.Exchange, response: ChatResponse) -> None:
    if response.created:
        exchange.finished_at.FromMilliseconds(int(response.created * 1000))
    else:
        exchange.finished_at.GetCurrentTime()
    exchange.started_at.CopyFrom(exchange.finished_at)


def _id_of_content(exchange: events.Exchange) -> str:
    content = exchange.request.SerializeToString(deterministic=True) + exchange.reply.SerializeToString()
    return str(uuid.uuid5(NAMESPACE, content.hex()))
