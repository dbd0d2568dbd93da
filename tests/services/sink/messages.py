"""Messages and records for the sink's tests."""

from dataclasses import replace

import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.topics import EXCHANGES, Record, encode


def uuid7() -> str:
    return str(uuid_utils.uuid7())


def exchange(sequence: int = 1, source: str = "s", **fields: object) -> events.Exchange:
    """An answered exchange: the student was refused, the teacher answered."""
    made = events.Exchange(id=uuid7(), source=source, sequence=sequence, outcome=events.OUTCOME_ANSWERED, origin="grpc")
    made.request.task, made.request.group_key = "address", "group"
    made.request.metadata["kind"] = "register"
    made.request.messages.add(role=inference.ROLE_SYSTEM, content="be brief")
    made.request.messages.add(role=inference.ROLE_USER, content="12 Main St «é»")
    reply = inference.Reply(answered_by=inference.BACKEND_TEACHER, model="gpt-4", cost_usd="0.00234000")
    reply.message.role, reply.message.content = inference.ROLE_ASSISTANT, '{"number":"12"}'
    reply.finish, reply.why, reply.confidence = inference.FINISH_STOP, "cascade: too unsure", -0.75
    reply.timings.total_us, reply.usage.prompt_tokens, reply.usage.completion_tokens = 1_200_000, 700, 38
    made.reply.CopyFrom(reply)
    made.attempts.add(backend=inference.BACKEND_STUDENT, refusal="grounded: no", confidence=-0.75)
    made.attempts.add(backend=inference.BACKEND_TEACHER, cost_usd="0.00234000")
    made.started_at.FromMilliseconds(1_700_000_000_000)
    made.finished_at.FromMilliseconds(1_700_000_001_200)
    made.MergeFrom(events.Exchange(**fields))  # type: ignore[arg-type]
    return made


def consumed(made: events.Exchange, offset: int = 0, partition: int = 0) -> Record:
    return replace(encode(EXCHANGES, made), partition=partition, offset=offset)
