"""Exchanges, feedback and tasks to test with."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import Task

ADDRESS = {
    "name": "address",
    "answer": "json",
    "teacher": {
        "model": "gpt-4",
        "may_be_trained_on": True,
        "prices": {"input_usd_per_million": 30, "output_usd_per_million": 60},
    },
    "student": {"prices": {"input_usd_per_million": 0, "output_usd_per_million": 0}},
    "error_ceiling": 0.08,
    "sampling": {"split": {"golden": 0.1, "eval": 0.1}},
    "validators": [{"kind": "json_schema", "schema": {"type": "object"}}, {"kind": "grounded"}],
}
TRAINS = "g1"
PROVES = "g7"


def a_task(**changes: object) -> Task:
    return Task.model_validate({**ADDRESS, **changes})


def an_exchange(
    id: str = "e1",  # noqa: A002
    question: str = "12 Main St",
    answer: str = '{"street": "Main St"}',
    *,
    group_key: str = TRAINS,
    answered_by: inference.Backend = inference.BACKEND_TEACHER,
    finish: inference.Finish = inference.FINISH_STOP,
    outcome: events.Outcome = events.OUTCOME_ANSWERED,
    task: str = "address",
) -> events.Exchange:
    exchange = events.Exchange(id=id, outcome=outcome, source="s", sequence=1, origin="grpc")
    exchange.request.task, exchange.request.group_key = task, group_key
    exchange.request.messages.add(role=inference.ROLE_USER, content=question)
    exchange.reply.answered_by, exchange.reply.finish, exchange.reply.model = answered_by, finish, "gpt-4"
    exchange.reply.message.role, exchange.reply.message.content = inference.ROLE_ASSISTANT, answer
    return exchange


def feedback(
    exchange_id: str = "e1", *, rating: float | None = None, correction: str | None = None, at_s: int = 1
) -> events.FeedbackRecord:
    return events.FeedbackRecord(
        id=f"f{at_s}",
        exchange_id=exchange_id,
        task="address",
        group_key=TRAINS,
        rating=rating,
        correction=correction,
        created_at=Timestamp(seconds=at_s),
    )


class Stream(SimpleNamespace):
    """A stream of Faust's as far as the feed needs one."""

    app: Any
    channel: Any

    async def maybe_start(self) -> None:
        """It has begun."""


def a_message(number: int, generation: int = 1) -> Any:
    return SimpleNamespace(offset=number, generation_id=generation)


def a_stream(numbers: Iterable[int], generation: int = 1) -> Stream:
    """One whose queue holds these messages of the group's first generation; its flow is on."""
    flow = FlowControlEvent(initially_suspended=False)
    queue: ThrowableQueue[Any] = ThrowableQueue(flow_control=flow)
    for number in numbers:
        queue.put_nowait(a_message(number))
    return Stream(
        app=SimpleNamespace(flow_control=flow, consumer_generation_id=generation), channel=SimpleNamespace(queue=queue)
    )
