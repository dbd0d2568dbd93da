"""Exchanges as OpenTelemetry spans, by the conventions for generative AI. The only importer of opentelemetry.

A span is made of an exchange that has ended, with the times that stand in it: what a trace says is what the ledger
says. No text of a question or an answer is in it, nor of a refusal, which may quote one.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import student_model
from services.gateway.counting import GATEWAY, OPERATION, PROVIDERS, kind
from services.gateway.teacher_wire import sampled
from services.topics import name

Attributes = dict[str, str | int | float | bool | list[str]]
Models = Mapping[str, str]
"""The teacher's model that is asked for, by task."""
NAMED: Final = {"stop": "stop_sequences"}
PORTS: Final = {"http": 80, "https": 443}


class Traces:
    """Sends a span for each exchange and one in it for each backend asked."""

    def __init__(self, processor: SpanProcessor, models: Models, teacher_url: str) -> None:
        # Which are sampled is OTEL_TRACES_SAMPLER's to say, as the package reads it.
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "tutelage-gateway"}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tutelage")
        self._parents = TraceContextTextMapPropagator()
        self._models = models
        self._teacher = _server(teacher_url)

    @classmethod
    def to(cls, endpoint: str, models: Models, teacher_url: str) -> "Traces":
        """To a collector that speaks OTLP over gRPC: `http://127.0.0.1:4317`, with https for TLS."""
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"))
        return cls(BatchSpanProcessor(exporter), models, teacher_url)

    def tell(self, exchange: events.Exchange, traceparent: str) -> None:
        """Send it; `traceparent` as the caller's header has it, '' for none: then it begins a trace."""
        parent = self._parents.extract({"traceparent": traceparent}, Context())
        began_ns = exchange.started_at.ToNanoseconds()
        span = self._begin(SpanKind.SERVER, parent, GATEWAY, exchange.request.task, began_ns, {})
        if not span.is_recording():
            return
        span.set_attributes(_call(exchange))
        for attempt in exchange.attempts:
            self._tell_attempt(attempt, exchange.request.task, span, began_ns)
        if exchange.error:
            _failed(span, _word(events.Outcome, exchange.outcome, "OUTCOME_"))
        span.end(exchange.finished_at.ToNanoseconds())

    def _tell_attempt(self, attempt: events.Attempt, task: str, call: Span, began_ns: int) -> None:
        backend, asked_ns = attempt.backend, began_ns + attempt.started_us * 1_000
        model = self._model(attempt, task)
        server = self._teacher if backend == inference.BACKEND_TEACHER else {}
        provider, within = PROVIDERS.get(backend, ""), set_span_in_context(call)
        span = self._begin(SpanKind.CLIENT, within, provider, model, asked_ns, server)
        span.set_attributes(_asked(attempt))
        if attempt.refusal:
            _failed(span, kind(attempt.refusal))
        span.end(asked_ns + attempt.latency_us * 1_000)

    def _model(self, attempt: events.Attempt, task: str) -> str:
        if attempt.backend == inference.BACKEND_STUDENT:
            return student_model(task, attempt.student_version)
        return self._models.get(task) or attempt.model or task

    def _begin(  # noqa: PLR0913, PLR0917
        self, side: SpanKind, parent: Context, provider: str, model: str, at_ns: int, server: Attributes
    ) -> Span:
        """With what a sampler may go by, and no more: a call that nobody looks at costs next to nothing."""
        asked: Attributes = {"gen_ai.operation.name": OPERATION, "gen_ai.provider.name": provider}
        asked |= {"gen_ai.request.model": model, **server}
        return self._tracer.start_span(f"{OPERATION} {model}", parent, side, asked, start_time=at_ns)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _call(exchange: events.Exchange) -> Attributes:
    return {
        "gen_ai.response.id": exchange.id,
        **_requested(exchange.request),
        **_answered(exchange.reply, exchange.reply.timings.first_token_us),
        "tutelage.origin": exchange.origin,
        "tutelage.answered_by": _word(inference.Backend, exchange.reply.answered_by, "BACKEND_"),
        "tutelage.student_version": exchange.reply.student_version,
        "tutelage.cost_usd": float(exchange.reply.cost_usd or 0),
        "tutelage.cached": exchange.reply.cached,
        "tutelage.end": _word(inference.End, exchange.end, "END_"),
    }


def _asked(attempt: events.Attempt) -> Attributes:
    return {
        **_answered(attempt, attempt.first_text_us),
        "tutelage.student_version": attempt.student_version,
        "tutelage.cost_usd": float(attempt.cost_usd or 0),
        "tutelage.shadow": attempt.shadow,
        "tutelage.hedge": attempt.hedge,
        "tutelage.end": _word(inference.End, attempt.end, "END_"),
    }


def _requested(request: inference.Request) -> Attributes:
    """How the caller wanted it drawn, as far as he said so."""
    said: Attributes = {
        f"gen_ai.request.{NAMED.get(key, key)}": drawn for key, drawn in sampled(request.sampling).items()
    }
    if request.sampling.HasField("max_tokens"):
        said["gen_ai.request.max_tokens"] = request.sampling.max_tokens
    if request.response_schema:
        said["gen_ai.output.type"] = "json"
    return said


def _answered(answer: inference.Reply | events.Attempt, first_text_us: int) -> Attributes:
    """What is known of an answer: of one that failed, nothing but what it used."""
    said, usage = Attributes(), answer.usage
    if answer.model:
        said["gen_ai.response.model"] = answer.model
    if answer.finish:
        said["gen_ai.response.finish_reasons"] = [_word(inference.Finish, answer.finish, "FINISH_")]
    if usage.prompt_tokens or usage.completion_tokens:
        said["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        said["gen_ai.usage.output_tokens"] = usage.completion_tokens
    if first_text_us:
        said["gen_ai.request.stream"] = True
        said["gen_ai.response.time_to_first_chunk"] = first_text_us / 1e6
    return said


def _server(url: str) -> Attributes:
    parts = urlsplit(url)
    if not parts.hostname:
        return {}
    return {"server.address": parts.hostname, "server.port": parts.port or PORTS.get(parts.scheme, 443)}


def _word(enum: Any, number: int, prefix: str) -> str:
    return name(enum, number).removeprefix(prefix).lower()


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
