"""Exchanges as OpenTelemetry spans, by the conventions for generative AI. The only importer of opentelemetry.

A span is made of an exchange that has ended, with the times that stand in it: what a trace says is what the ledger
says. No text of a question or an answer is in it, nor of a refusal, which may quote one.
"""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.topics import name

Attributes = dict[str, str | int | float | bool | list[str]]
PROVIDERS: Final = {inference.BACKEND_TEACHER: "openai", inference.BACKEND_STUDENT: "tutelage"}
"""The teacher speaks OpenAI's API, whoever it is."""


class Traces:
    """Sends a span for each exchange and one in it for each backend asked."""

    def __init__(self, processor: SpanProcessor) -> None:
        # Which are sampled is OTEL_TRACES_SAMPLER's to say, as the package reads it.
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "tutelage-gateway"}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tutelage")
        self._parents = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> "Traces":
        """To a collector that speaks OTLP over gRPC: `http://127.0.0.1:4317`, with https for TLS."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"))))

    def tell(self, exchange: events.Exchange, traceparent: str) -> None:
        """Send it; `traceparent` as the caller's header has it, '' for none: then it begins a trace."""
        parent = self._parents.extract({"traceparent": traceparent}, Context())
        began_ns = exchange.started_at.ToNanoseconds()
        span = self._tracer.start_span(
            f"chat {exchange.request.task}", parent, SpanKind.SERVER, _call(exchange), start_time=began_ns
        )
        if span.is_recording():
            for attempt in exchange.attempts:
                self._tell_attempt(attempt, exchange, span, began_ns)
        if exchange.error:
            _failed(span, _word(events.Outcome, exchange.outcome, "OUTCOME_"))
        span.end(exchange.finished_at.ToNanoseconds())

    def _tell_attempt(self, attempt: events.Attempt, exchange: events.Exchange, call: Span, began_ns: int) -> None:
        asked_ns = began_ns + attempt.started_us * 1_000
        within, model = set_span_in_context(call), attempt.model or exchange.request.task
        span = self._tracer.start_span(f"chat {model}", within, SpanKind.CLIENT, _asked(attempt), start_time=asked_ns)
        if attempt.refusal:
            _failed(span, attempt.refusal.partition(":")[0])
        span.end(asked_ns + attempt.latency_us * 1_000)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _call(exchange: events.Exchange) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tutelage",
        "gen_ai.request.model": exchange.request.task,
        "gen_ai.response.id": exchange.id,
        **_answered(exchange.reply.model, exchange.reply.finish, exchange.reply.usage),
        "tutelage.origin": exchange.origin,
        "tutelage.answered_by": _word(inference.Backend, exchange.reply.answered_by, "BACKEND_"),
        "tutelage.student_version": exchange.reply.student_version,
        "tutelage.cost_usd": float(exchange.reply.cost_usd or 0),
        "tutelage.cached": exchange.reply.cached,
        "tutelage.end": _word(inference.End, exchange.end, "END_"),
    }


def _asked(attempt: events.Attempt) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(attempt.backend, ""),
        **_answered(attempt.model, attempt.finish, attempt.usage),
        "tutelage.student_version": attempt.student_version,
        "tutelage.cost_usd": float(attempt.cost_usd or 0),
        "tutelage.shadow": attempt.shadow,
        "tutelage.hedge": attempt.hedge,
        "tutelage.end": _word(inference.End, attempt.end, "END_"),
    }


def _answered(model: str, finish: inference.Finish, usage: inference.Usage) -> Attributes:
    return {
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": [_word(inference.Finish, finish, "FINISH_")],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
    }


def _word(enum: Any, number: int, prefix: str) -> str:
    return name(enum, number).removeprefix(prefix).lower()


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
