"""A record of a topic as a row of the table of the same name: column by column what ClickHouse makes of the message.

ClickHouse reads the records' protobuf itself and evaluates these expressions for a whole batch at once: a row built in
Python cost the sink five times as much. Columns are those of schema/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sink.expressions import dollars, json, json_array, name, quoted, time, us
from services.sink.wire import OFFSET, PARTITION, described, proto, structure
from services.topics import CANDIDATES, EXCHANGES, FEEDBACK, KEYS, PROMOTIONS, RUNS, SHADOWS, SOURCES, Topic

Columns = Mapping[str, str]
"""By column the SQL that makes its value."""
_REQUEST: Final = described(inference.Request)
_ATTEMPT: Final = described(events.Attempt)
_BACKEND: Final = inference.Backend.DESCRIPTOR
_POLICY: Final = events.PolicyKind.DESCRIPTOR
IN_COLUMNS: Final = frozenset({"model", "student_version", "message", "finish", "usage", "confidence"})
"""What a row says of the attempt that gave the answer: half of all its bytes, if it were said again."""


def _exchange() -> Columns:
    """A finished inference."""
    started_us, finished_us = us("started_at"), us("finished_at")
    return {
        "id": "toUUID(id)",
        "task": "request.task",
        "source": "source",
        "sequence": "sequence",
        "origin": "origin",
        "key_id": "key_id",
        "outcome": name(events.Outcome.DESCRIPTOR, "outcome"),
        "end": name(inference.End.DESCRIPTOR, "end"),
        "cached": "reply.cached",
        "error": "error",
        "answered_by": name(_BACKEND, "reply.answered_by"),
        "model": "reply.model",
        "student_version": "reply.student_version",
        "why": "reply.why",
        "group_key": "request.group_key",
        "kind": "request.metadata['kind']",
        "question": _QUESTION,
        "request": json(_REQUEST, "request"),
        "answer": _ANSWER,
        "finish": name(inference.Finish.DESCRIPTOR, "reply.finish"),
        "prompt_tokens": "reply.usage.prompt_tokens",
        "completion_tokens": "reply.usage.completion_tokens",
        "cost_usd": _COST_USD,
        "latency_us": f"if({_TOTAL_US} > 0, {_TOTAL_US}, toUInt64(greatest(0, {finished_us} - {started_us})))",
        "first_token_us": "reply.timings.first_token_us",
        "teacher_us": "reply.timings.teacher_us",
        "student_us": "reply.timings.student_us",
        "confidence": "ifNull(reply.confidence, arrayFirst(one -> isNotNull(one), attempts.confidence))",
        "refusal": "arrayFirst((one, shadow) -> notEmpty(one) AND NOT shadow, attempts.refusal, attempts.shadow)",
        "attempts": _ATTEMPTS,
        "metadata": "request.metadata",
        "started_at": time(f"if({started_us} = 0, {finished_us}, {started_us})"),
        "finished_at": time(f"if({finished_us} = 0, {started_us}, {finished_us})"),
    }


_TOTAL_US: Final = "reply.timings.total_us"
# As services.tasks.question and answer_text.
_QUESTION: Final = f"arrayLast(one -> one.role = {inference.ROLE_USER}, request.messages).content"
_CALL: Final = """concat('{"name":', toJSONString(call.name), ',"arguments":', toJSONString(call.arguments), '}')"""


def _text(message: str) -> str:
    calls = json_array(_CALL, "call", f"{message}.tool_calls")
    return f"""if(empty({message}.tool_calls), {message}.content, concat('{{"tool_calls":', {calls}, '}}'))"""


_ANSWER: Final = _text("reply.message")
# Where the reply names no cost, what all attempts cost: also where none gave an answer. Else theirs are not even read.
_COST_USD: Final = (
    f"if(notEmpty(reply.cost_usd), {dollars('reply.cost_usd')},"
    f" arraySum(arrayMap(cost_usd -> {dollars('cost_usd')},"
    " arrayFilter(one -> empty(reply.cost_usd), attempts.cost_usd))))"
)
_GAVE_THE_ANSWER: Final = (
    "empty(attempt.refusal) AND attempt.backend = reply.answered_by AND NOT attempt.shadow AND NOT reply.cached"
)
_ATTEMPTS: Final = json_array(
    json(_ATTEMPT, "attempt", but_if=(f"({_GAVE_THE_ANSWER})", IN_COLUMNS)), "attempt", "attempts"
)


def _feedback() -> Columns:
    """What a caller said of an exchange."""
    return {
        "id": "toUUID(id)",
        "exchange_id": "toUUID(exchange_id)",
        "task": "task",
        "group_key": "group_key",
        "rating": "rating",
        "metrics": "metrics",
        "correction": "correction",
        "comment": "comment",
        "created_at": time(us("created_at")),
    }


def _candidate() -> Columns:
    """An exchange chosen to be learnt from, or taken back."""
    return {
        "id": "toUUID(id)",
        "task": "task",
        "split": name(events.Split.DESCRIPTOR, "split"),
        "request": json(_REQUEST, "request"),
        "question": _QUESTION,
        "kind": "request.metadata['kind']",
        "group_key": "request.group_key",
        "answer": "answer",
        "corrected": "corrected",
        "reason": "reason",
        "probability": "probability",
        "stratum": "stratum",
        "hard": "hard",
        "excluded": "excluded",
        "teacher_answer": "teacher_answer",
        "teacher_model": "teacher_model",
        "decided_at": time(us("decided_at")),
    }


def _shadow() -> Columns:
    """A call about which both were asked."""
    told = {
        "id": "toUUID(id)",
        "task": "task",
        "group_key": "group_key",
        "kind": "kind",
        "question": "question",
        "policy": name(_POLICY, "policy"),
        "promotion_id": "promotion_id",
        "student_version": "student_version",
        "probability": "probability",
        "answered_by": name(_BACKEND, "answered_by"),
        "agreed": "agreed",
        "confidence": "student.confidence",
        "teacher_model": "teacher.model",
    }
    times = {name: time(us(name)) for name in ("asked_at", "compared_at")}
    return {**told, **_said("teacher"), **_said("student"), **times}


def _said(by: str) -> Columns:
    """What one of a pair answered, and what it took."""
    return {
        f"{by}_answer": _text(f"{by}.message"),
        f"{by}_refusal": f"{by}.refusal",
        f"{by}_latency_us": f"{by}.latency_us",
        f"{by}_cost_usd": dollars(f"{by}.cost_usd"),
    }


def _run() -> Columns:
    """How far a run has come."""
    return {
        "id": "id",
        "task": "task",
        "state": name(events.RunState.DESCRIPTOR, "state"),
        "snapshot": "snapshot",
        "student_version": "student_version",
        "config": "config",
        "report": "report",
        "report_path": "report_path",
        "promoted": "promoted",
        "reason": "reason",
        "started_at": time(us("started_at")),
        "updated_at": time(us("updated_at")),
    }


def _promotion() -> Columns:
    """A decision how a task is served."""
    return {
        "id": "id",
        "task": "task",
        "policy": name(_POLICY, "policy.kind"),
        "share": "policy.share",
        "share_of_kind": "policy.share_of_kind",
        "min_confidence": "policy.min_confidence",
        "student_version": "student_version",
        "reason": "reason",
        "run_id": "run_id",
        "decided_by": "decided_by",
        "decided_at": time(us("decided_at")),
        "previous_policy": name(_POLICY, "previous_policy.kind"),
        "previous_student_version": "previous_student_version",
    }


def _source() -> Columns:
    """How far a source has come."""
    return {
        "source": "source",
        "ended": "ended",
        "last_sequence": "last_sequence",
        "acknowledged": "acknowledged",
        "put_aside": "put_aside",
        "oldest_unacknowledged_at": time(us("oldest_unacknowledged_at")),
        "at": time(us("at")),
        "host": "host",
    }


def _key() -> Columns:
    """An API key as it was made, credited or taken back; never its digest."""
    return {
        "id": "id",
        "name": "name",
        "tasks": "tasks",
        "requests_per_minute": "quota.requests_per_minute",
        "tokens_per_minute": "quota.tokens_per_minute",
        "usd_per_day": "toDecimal128OrZero(quota.usd_per_day, 8)",
        "usd_per_month": "toDecimal128OrZero(quota.usd_per_month, 8)",
        "may_audit": "may_audit",
        "credit_usd": "toDecimal128OrZero(credit_usd, 8)",
        "credited_by": "credited_by",
        "created_by": "created_by",
        "created_at": time(us("created_at")),
        "revoked_by": "revoked_by",
        "revoked_at": time(us("revoked_at")),
        "reason": "reason",
        "updated_at": time(us("updated_at")),
    }


@dataclass(frozen=True)
class Table:
    """A table's columns, and the statement behind which its rows go, as services.sink.wire has them."""

    columns: Sequence[str]
    insert: str


def _table(topic: Topic, columns: Columns) -> Table:
    kind, made = described(topic.message), {**columns, PARTITION: PARTITION, OFFSET: OFFSET}
    settings = {
        "format_schema_source": "string",
        "format_schema": proto(kind),
        "format_schema_message_name": kind.name,
        "output_format_json_escape_forward_slashes": "0",
    }
    statement = (
        f"INSERT INTO {topic.name} ({', '.join(made)})"  # noqa: S608 - of nothing but our own names
        f" SETTINGS {', '.join(f'{setting} = {quoted(value)}' for setting, value in settings.items())}"
        f" SELECT {', '.join(made.values())} FROM input({quoted(structure(kind))}) FORMAT Protobuf"
    )
    return Table(tuple(made), statement)


TABLES: Final[Mapping[str, Table]] = {
    "exchanges": _table(EXCHANGES, _exchange()),
    "feedback": _table(FEEDBACK, _feedback()),
    "candidates": _table(CANDIDATES, _candidate()),
    "runs": _table(RUNS, _run()),
    "promotions": _table(PROMOTIONS, _promotion()),
    "shadows": _table(SHADOWS, _shadow()),
    "sources": _table(SOURCES, _source()),
    "keys": _table(KEYS, _key()),
}
