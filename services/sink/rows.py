"""A record of a topic as a row of the table of the same name; pure. Columns are those of schema/."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.sink.plain import json, plain
from services.tasks import answer_text, question
from services.topics import Record, decode

Values = Mapping[str, Any]
Attempts = Sequence[Mapping[str, Any]]
IN_COLUMNS: Final = frozenset({"model", "student_version", "message", "finish", "usage", "confidence"})
"""What a row says of the attempt that gave the answer."""
_USER: Final = inference.Role.Name(inference.ROLE_USER)


@dataclass(frozen=True)
class Table:
    """A table's columns, in the order of a row, and how a message becomes its values by column, in the same order."""

    columns: Sequence[str]
    values: Callable[[Any], Values]


def row(record: Record) -> tuple[Any, ...]:
    """The row of a record, in the order of its table's columns. Raises BadEvent if there can be none."""
    table = TABLES[record.topic]
    values = table.values(decode(record))
    return (*values.values(), record.partition, record.offset)


def exchange_values(exchange: events.Exchange) -> Values:
    """A finished inference. The dearest of all rows: a field is read once, for each costs a fifth of a microsecond."""
    reply, request = exchange.reply, plain(exchange.request)
    attempts = [_attempt(attempt, reply) for attempt in exchange.attempts]
    usage, timings = reply.usage, reply.timings
    metadata = request.get("metadata", {})
    started_us, finished_us = _us(exchange.started_at), _us(exchange.finished_at)
    return {
        "id": _uuid("id", exchange.id),
        "task": request.get("task", ""),
        "source": exchange.source,
        "sequence": exchange.sequence,
        "origin": exchange.origin,
        "outcome": _name(events.Outcome, exchange.outcome),
        "error": exchange.error,
        "answered_by": _name(inference.Backend, reply.answered_by),
        "model": reply.model,
        "student_version": reply.student_version,
        "why": reply.why,
        "group_key": request.get("group_key", ""),
        "kind": metadata.get("kind", ""),
        "question": _question(request),
        "request": json(request),
        "answer": answer_text(reply.message),
        "finish": _name(inference.Finish, reply.finish),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost_usd": _cost_usd(reply.cost_usd, attempts),
        "latency_us": timings.total_us or max(0, finished_us - started_us),
        "first_token_us": timings.first_token_us,
        "teacher_us": timings.teacher_us,
        "student_us": timings.student_us,
        "confidence": _confidence(reply, attempts),
        "refusal": next((attempt["refusal"] for attempt in attempts if "refusal" in attempt), ""),
        "attempts": json(attempts),
        "metadata": metadata,
        "started_at": started_us or finished_us,
        "finished_at": finished_us or started_us,
    }


def feedback_values(record: events.FeedbackRecord) -> Values:
    """What a caller said of an exchange."""
    return {
        "id": _uuid("id", record.id),
        "exchange_id": _uuid("exchange_id", record.exchange_id),
        "task": record.task,
        "group_key": record.group_key,
        "rating": record.rating if record.HasField("rating") else None,
        "metrics": dict(record.metrics),
        "correction": record.correction if record.HasField("correction") else None,
        "comment": record.comment,
        "created_at": _us(record.created_at),
    }


def candidate_values(candidate: events.Candidate) -> Values:
    """An exchange chosen to be learnt from, or taken back."""
    request = candidate.request
    return {
        "id": _uuid("id", candidate.id),
        "task": candidate.task,
        "split": _name(events.Split, candidate.split),
        "request": json(plain(request)),
        "question": question(request),
        "kind": request.metadata.get("kind", ""),
        "group_key": request.group_key,
        "answer": candidate.answer,
        "corrected": candidate.corrected,
        "reason": candidate.reason,
        "probability": candidate.probability,
        "excluded": candidate.excluded,
        "teacher_answer": candidate.teacher_answer,
        "teacher_model": candidate.teacher_model,
        "decided_at": _us(candidate.decided_at),
    }


def run_values(run: events.Run) -> Values:
    """How far a run has come."""
    return {
        "id": run.id,
        "task": run.task,
        "state": _name(events.RunState, run.state),
        "snapshot": run.snapshot,
        "student_version": run.student_version,
        "config": run.config,
        "report": run.report,
        "report_path": run.report_path,
        "promoted": run.promoted,
        "reason": run.reason,
        "started_at": _us(run.started_at),
        "updated_at": _us(run.updated_at),
    }


def promotion_values(promotion: events.Promotion) -> Values:
    """A decision how a task is served."""
    return {
        "id": promotion.id,
        "task": promotion.task,
        "policy": _name(events.PolicyKind, promotion.policy.kind),
        "share": promotion.policy.share,
        "min_confidence": promotion.policy.min_confidence,
        "student_version": promotion.student_version,
        "reason": promotion.reason,
        "run_id": promotion.run_id,
        "decided_by": promotion.decided_by,
        "decided_at": _us(promotion.decided_at),
        "previous_policy": _name(events.PolicyKind, promotion.previous_policy.kind),
        "previous_student_version": promotion.previous_student_version,
    }


def source_values(state: events.SourceState) -> Values:
    """How far a source has come."""
    return {
        "source": state.source,
        "ended": state.ended,
        "last_sequence": state.last_sequence,
        "acknowledged": state.acknowledged,
        "put_aside": state.put_aside,
        "oldest_unacknowledged_at": _us(state.oldest_unacknowledged_at),
        "at": _us(state.at),
        "host": state.host,
    }


@lru_cache(maxsize=1024)
def _name(enum: EnumTypeWrapper, number: int) -> str:
    """OUTCOME_ANSWERED -> answered; '' where nothing is set; the number where a newer writer knows more than we."""
    names = {value.number: value.name for value in enum.DESCRIPTOR.values}
    prefix = names[0].removesuffix("UNSPECIFIED")
    return names.get(number, str(number)).removeprefix(prefix).lower() if number else ""


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadEvent(f"{field} is {text[:60]!r}, not a UUID") from error


def _us(time: Timestamp) -> int:
    """Microseconds since 1970, UTC."""
    return time.seconds * 1_000_000 + time.nanos // 1_000


def _attempt(attempt: events.Attempt, reply: inference.Reply) -> Mapping[str, Any]:
    """Of the one that gave the answer, what the row has in columns of its own is left out: half of all its bytes."""
    gave_the_answer = not attempt.refusal and attempt.backend == reply.answered_by
    return plain(attempt, IN_COLUMNS if gave_the_answer else ())


def _question(request: Mapping[str, Any]) -> str:
    """As `services.tasks.question`, of a plain request."""
    asked: Iterator[Mapping[str, Any]] = (m for m in reversed(request.get("messages", ())) if m.get("role") == _USER)
    return str(next((message.get("content", "") for message in asked), ""))


def _cost_usd(total: str, attempts: Attempts) -> Decimal:
    """What all attempts cost, also where none gave an answer."""
    told = [total] if total else [attempt["cost_usd"] for attempt in attempts if "cost_usd" in attempt]
    try:
        return sum(map(Decimal, told[1:]), Decimal(told[0] if told else 0))
    except InvalidOperation as error:
        raise BadEvent(f"cost_usd is not a number: {told}"[:200]) from error


def _confidence(reply: inference.Reply, attempts: Attempts) -> float | None:
    if reply.HasField("confidence"):
        return reply.confidence
    return next((attempt["confidence"] for attempt in attempts if "confidence" in attempt), None)


def _table(values: Callable[[Any], Values], empty: Message) -> Table:
    return Table((*values(empty), "kafka_partition", "kafka_offset"), values)


_ID: Final = str(UUID(int=0))
TABLES: Final[Mapping[str, Table]] = {
    "exchanges": _table(exchange_values, events.Exchange(id=_ID)),
    "feedback": _table(feedback_values, events.FeedbackRecord(id=_ID, exchange_id=_ID)),
    "candidates": _table(candidate_values, events.Candidate(id=_ID)),
    "runs": _table(run_values, events.Run()),
    "promotions": _table(promotion_values, events.Promotion()),
    "sources": _table(source_values, events.SourceState()),
}
