"""An exchange as spans."""

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.tracing import Traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRET = "the answer's own words"


def an_exchange() -> events.Exchange:
    exchange = events.Exchange(id="e-1", outcome=events.OUTCOME_ANSWERED, end=inference.END_COMPLETE, origin="grpc")
    exchange.request.task = "topics"
    exchange.started_at.FromNanoseconds(1_000_000_000_000)
    exchange.finished_at.FromNanoseconds(1_000_500_000_000)
    exchange.attempts.add(
        backend=inference.BACKEND_STUDENT,
        model="tiny",
        started_us=1_000,
        latency_us=20_000,
        refusal=f"one_of: '{SECRET}' is none of the 3 values",
        end=inference.END_REPLACED,
    )
    usage = inference.Usage(prompt_tokens=7, completion_tokens=3)
    answered: dict[str, Any] = {"model": "gpt-4", "finish": inference.FINISH_STOP, "usage": usage}
    exchange.attempts.add(backend=inference.BACKEND_TEACHER, started_us=21_000, latency_us=400_000, **answered)
    exchange.reply.MergeFrom(inference.Reply(answered_by=inference.BACKEND_TEACHER, cost_usd="0.002", **answered))
    exchange.reply.message.content = SECRET
    exchange.reply.why = f"cascade; the student's answer is not kept: one_of: '{SECRET}' is none of the 3 values"
    return exchange


def told(exchange: events.Exchange, traceparent: str = "") -> list[ReadableSpan]:
    """The attempts' spans in order, then the call's."""
    exporter = InMemorySpanExporter()
    traces = Traces(SimpleSpanProcessor(exporter))
    traces.tell(exchange, traceparent)
    traces.close()
    return list(exporter.get_finished_spans())


def test_a_call_is_a_span_with_one_in_it_for_each_backend_at_the_times_of_the_ledger() -> None:
    student, teacher, call = told(an_exchange())
    assert [span.name for span in (call, student, teacher)] == ["chat topics", "chat tiny", "chat gpt-4"]
    assert [span.kind for span in (call, student, teacher)] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CLIENT]
    assert call.context is not None
    assert {span.parent and span.parent.span_id for span in (student, teacher)} == {call.context.span_id}
    assert (call.start_time, call.end_time) == (1_000_000_000_000, 1_000_500_000_000)
    assert (teacher.start_time, teacher.end_time) == (1_000_021_000_000, 1_000_421_000_000)


def test_it_goes_on_with_the_callers_trace() -> None:
    *_, call = told(an_exchange(), f"00-{TRACE}-{CALLER}-01")
    assert call.context is not None
    assert call.parent is not None
    assert (f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE, CALLER)


def test_what_is_no_trace_begins_one() -> None:
    *_, call = told(an_exchange(), "rubbish")
    assert call.parent is None


def test_a_caller_who_does_not_sample_gets_no_spans() -> None:
    assert told(an_exchange(), f"00-{TRACE}-{CALLER}-00") == []


def test_attributes_are_those_of_the_conventions() -> None:
    _, teacher, call = told(an_exchange())
    for span, asked in ((call, "tutelage"), (teacher, "openai")):
        assert span.attributes is not None
        said = {key: value for key, value in span.attributes.items() if key.startswith("gen_ai.")}
        assert said.pop("gen_ai.provider.name") == asked
        assert (
            said.items()
            >= {
                "gen_ai.operation.name": "chat",
                "gen_ai.response.model": "gpt-4",
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 7,
                "gen_ai.usage.output_tokens": 3,
            }.items()
        )


def test_a_refused_answer_is_an_error_of_its_kind_and_quotes_nobody() -> None:
    spans = told(an_exchange())
    student, *_, call = spans
    assert student.attributes is not None
    assert (student.status.status_code, student.attributes["error.type"]) == (StatusCode.ERROR, "one_of")
    assert call.status.status_code is StatusCode.UNSET
    assert SECRET not in "".join(span.to_json() for span in spans)


def test_a_call_without_an_answer_is_an_error_of_its_outcome() -> None:
    exchange = an_exchange()
    exchange.ClearField("reply")
    exchange.outcome, exchange.error = events.OUTCOME_DEADLINE_EXCEEDED, "no answer"
    *_, call = told(exchange)
    assert call.attributes is not None
    assert (call.status.status_code, call.attributes["error.type"]) == (StatusCode.ERROR, "deadline_exceeded")
