"""Tasks, requests and answers for the gateway's tests."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask
from services.tasks import Task

PRICES = {"input_usd_per_million": "30", "output_usd_per_million": "60"}
AN_ID = "0190a0b0-0000-7000-8000-00000000000A"
STUDENT_PRICES = {"input_usd_per_million": "0.1", "output_usd_per_million": "0.1"}
NO_PRICES = {"input_usd_per_million": "0", "output_usd_per_million": "0"}
FREE = {
    "teacher": {"model": "gpt-4", "prices": NO_PRICES, "may_be_trained_on": True},
    "student": {"prices": NO_PRICES, "training": "tiny"},
}
"""Of a task for which no dollars need be kept free."""


def a_task(**fields: Any) -> Task:
    """A task of texts, whose student may write 16 tokens."""
    definition: dict[str, Any] = {
        "name": "say",
        "answer": "text",
        "instructions": "Say something.",
        "teacher": {"model": "gpt-4", "prices": PRICES, "may_be_trained_on": True},
        "student": {"prices": STUDENT_PRICES, "max_tokens": 16, "timeout_s": 2.0, "training": "tiny"},
        "error_ceiling": 0.1,
        "limits": {"max_input_bytes": 200, "max_messages": 3, "max_completion_tokens": 50},
        "compare": {"share": 0.0},
        "validators": [{"kind": "regex", "pattern": "(?s)(?!nonsense).*"}],
    }
    return Task.model_validate({**definition, **fields})


def a_request(text: str = "what is it?", **fields: Any) -> inference.Request:
    """A request that is in order."""
    message = inference.Message(role=inference.ROLE_USER, content=text)
    return inference.Request(**{"task": "say", "messages": [message], **fields})


def a_feedback(**fields: Any) -> events.FeedbackRecord:
    """Feedback that is in order."""
    return events.FeedbackRecord(**{"task": "say", "exchange_id": AN_ID, "rating": 1.0, **fields})


def a_promotion(kind: events.PolicyKind, version: int = 3, **parameters: float) -> events.Promotion:
    return events.Promotion(task="say", policy=events.Policy(kind=kind, **parameters), student_version=version)


def an_ask(task: Task | None = None, version: int = 1, **fields: Any) -> Ask:
    """An ask of 30 seconds."""
    return Ask(task or a_task(), a_request(**fields), "0190a0b0-0000-7000-8000-000000000001", version, 30.0)


def an_attempt(text: str = "yes", **fields: Any) -> events.Attempt:
    """A student's answer that came to its end."""
    message = inference.Message(role=inference.ROLE_ASSISTANT, content=text)
    given = {"backend": inference.BACKEND_STUDENT, "message": message, "finish": inference.FINISH_STOP, **fields}
    return events.Attempt(**given)


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail after half a minute."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def is_cancelled(asking: "asyncio.Task[Any]") -> None:
    """Cancel it, and see that it ends by that."""
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
