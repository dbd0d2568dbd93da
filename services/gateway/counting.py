"""What Prometheus is told of an exchange that has ended: our figures, and those of the conventions for gen AI."""

from functools import lru_cache
from typing import Any, Final

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


def count(exchange: events.Exchange) -> None:
    """Count it, whatever its end."""
    task, reply, outcome = exchange.request.task, exchange.reply, OUTCOMES[exchange.outcome]
    answered_by = "cache" if reply.cached else NAMES.get(reply.answered_by, "nobody")
    _labelled(telemetry.EXCHANGES, task, answered_by, outcome).inc()
    if exchange.outcome == events.OUTCOME_ANSWERED:
        _labelled(telemetry.LATENCY, task, answered_by).observe(reply.timings.total_us / 1e6)
    for attempt in exchange.attempts:
        _labelled(telemetry.COST, task, NAMES[attempt.backend]).inc(float(attempt.cost_usd))
        if attempt.refusal and attempt.backend == inference.BACKEND_STUDENT:
            telemetry.REFUSALS.labels(task, attempt.refusal.partition(":")[0]).inc()
    _count_by_convention(exchange, task, "" if exchange.outcome == events.OUTCOME_ANSWERED else outcome)


def _count_by_convention(exchange: events.Exchange, task: str, error: str) -> None:
    """The same calls under the names that boards for any LLM service look for."""
    model, usage, timings = exchange.reply.model, exchange.reply.usage, exchange.reply.timings
    took_us = timings.total_us or (exchange.finished_at.ToMicroseconds() - exchange.started_at.ToMicroseconds())
    _labelled(telemetry.GEN_AI_DURATION, task, model, error).observe(took_us / 1e6)
    if timings.first_token_us:
        _labelled(telemetry.GEN_AI_FIRST_TOKEN, task, model).observe(timings.first_token_us / 1e6)
    if usage.prompt_tokens or usage.completion_tokens:
        _labelled(telemetry.GEN_AI_TOKENS, task, model, "input").observe(usage.prompt_tokens)
        _labelled(telemetry.GEN_AI_TOKENS, task, model, "output").observe(usage.completion_tokens)


@lru_cache(maxsize=4096)
def _labelled(metric: Any, *labels: str) -> Any:
    """The metric of these labels, whose look-up costs more than counting."""
    return metric.labels(*labels)
