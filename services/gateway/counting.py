"""What Prometheus is told of an exchange that has ended: our figures, and those of the conventions for gen AI."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway.standing import NAMES

OUTCOMES: Final = {
    events.OUTCOME_ANSWERED: "answered",
    events.OUTCOME_FAILED: "failed",
    events.OUTCOME_DEADLINE_EXCEEDED: "deadline_exceeded",
    events.OUTCOME_CANCELLED: "cancelled",
}
OPERATION: Final = "chat"
GATEWAY: Final = "tutelage"
PROVIDERS: Final = {inference.BACKEND_TEACHER: "openai", inference.BACKEND_STUDENT: GATEWAY}
"""The teacher speaks OpenAI's API, whoever it is."""


def count(exchange: events.Exchange) -> None:
    """Count it, whatever its end."""
    task, reply = exchange.request.task, exchange.reply
    answered_by = "cache" if reply.cached else NAMES.get(reply.answered_by, "nobody")
    ended, timings = _ended(task, answered_by, OUTCOMES[exchange.outcome], reply.model), reply.timings
    ended.exchanges.inc()
    if exchange.outcome == events.OUTCOME_ANSWERED:
        ended.answer_s.observe(timings.total_us / 1e6)
    took_us = timings.total_us or (exchange.finished_at.ToMicroseconds() - exchange.started_at.ToMicroseconds())
    ended.duration_s.observe(took_us / 1e6)
    if timings.first_token_us:
        ended.first_s.observe(timings.first_token_us / 1e6)
    for attempt in exchange.attempts:
        _count_attempt(attempt, task)


def kind(refusal: str) -> str:
    """What an attempt's refusal begins with, one of some twenty words; what follows is for people, and may quote."""
    return refusal.partition(":")[0]


def _count_attempt(attempt: events.Attempt, task: str) -> None:
    backend, refusal, took_us = attempt.backend, kind(attempt.refusal), attempt.latency_us
    if refusal and backend == inference.BACKEND_STUDENT:
        telemetry.REFUSALS.labels(task, refusal).inc()
    if not took_us:
        return  # It was left alone.
    asked, usage = _asked(backend, task, attempt.model, refusal), attempt.usage
    asked.cost_usd.inc(float(attempt.cost_usd))
    asked.duration_s.observe(took_us / 1e6)
    read, written, first_us = usage.prompt_tokens, usage.completion_tokens, attempt.first_text_us
    if read or written:
        asked.read.observe(read)
        asked.written.observe(written)
    if first_us:
        asked.first_s.observe(first_us / 1e6)
        if written > 1 and not (refusal or attempt.resumed_characters):
            asked.each_s.observe((took_us - first_us) / (written - 1) / 1e6)


class _Ended(NamedTuple):
    """The metrics of calls that ended alike: looking each up costs as much as counting."""

    exchanges: Any
    answer_s: Any
    duration_s: Any
    first_s: Any


class _Asked(NamedTuple):
    """The same of what a backend did for a task."""

    cost_usd: Any
    duration_s: Any
    first_s: Any
    each_s: Any
    read: Any
    written: Any


@lru_cache(maxsize=4096)
def _ended(task: str, answered_by: str, outcome: str, model: str) -> _Ended:
    labels, answered = (OPERATION, GATEWAY, task, model), outcome == OUTCOMES[events.OUTCOME_ANSWERED]
    return _Ended(
        telemetry.EXCHANGES.labels(task, answered_by, outcome),
        telemetry.LATENCY.labels(task, answered_by) if answered else None,
        telemetry.GEN_AI_DURATION.labels(*labels, "" if answered else outcome),
        telemetry.GEN_AI_FIRST_TOKEN.labels(*labels),
    )


@lru_cache(maxsize=4096)
def _asked(backend: inference.Backend, task: str, model: str, error: str) -> _Asked:
    labels = OPERATION, PROVIDERS[backend], task, model
    return _Asked(
        telemetry.COST.labels(task, NAMES[backend]),
        telemetry.GEN_AI_ASKED.labels(*labels, error),
        telemetry.GEN_AI_FIRST_CHUNK.labels(*labels),
        telemetry.GEN_AI_PER_TOKEN.labels(OPERATION, GATEWAY, task, model),
        telemetry.GEN_AI_TOKENS.labels(*labels, "input"),
        telemetry.GEN_AI_TOKENS.labels(*labels, "output"),
    )
