"""An exchange as spans."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import tracing
from services.gateway.tracing import Traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
MODELS = {"topics": "gpt-4"}
SECRET = "the answer's own words"


def an_exchange() -> events.Exchange:
    exchange = events.Exchange(id="e-1", outcome=events.OUTCOME_ANSWERED, end=inference.END_COMPLETE, origin="grpc")
    exchange.request.task = "topics"
    exchange.started_at.FromNanoseconds(1_000_000_000_000)
    exchange.finished_at.FromNanoseconds(1_000_500_000_000)
    exchange.attempts.add(
        backend=inference.BACKEND_STUDENT,
        model="topics/3",
        student_version=3,
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
    traces = Traces(SimpleSpanProcessor(exporter), MODELS, "https://api.example.com/v1")
    traces.tell(exchange, traceparent)
    traces.close()
    return list(exporter.get_finished_spans())


def test_a_call_is_a_span_with_one_in_it_for_each_backend_at_the_times_of_the_ledger() -> None:
    student, teacher, call = told(an_exchange())
    assert [span.name for span in (call, student, teacher)] == ["chat topics", "chat topics/3", "chat gpt-4"]
    assert [span.kind for span in (call, student, teacher)] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CLIENT]
    assert call.context is not None
    assert {span.parent and span.parent.span_id for span in (student, teacher)} == {call.context.span_id}
    assert (call.start_time, call.end_time) == (1_000_000_000_000, 1_000_500_000_000)
    assert (teacher.start_time, teacher.end_time) == (1_000_021_000_000, 1_000_421_000_000)


def test_a_student_that_did_not_answer_is_named_all_the_same() -> None:
    exchange = an_exchange()
    exchange.attempts[0].ClearField("model")
    student, *_ = told(exchange)
    assert (student.name, said_of(student)["gen_ai.request.model"]) == ("chat topics/3", "topics/3")


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


def said_of(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes by the conventions."""
    return {key: value for key, value in (span.attributes or {}).items() if not key.startswith("tutelage.")}


def test_a_span_tells_how_the_answer_was_wanted_and_where_it_was_asked_for() -> None:
    exchange = an_exchange()
    sampling = inference.Sampling(temperature=0.7, top_p=0.9, max_tokens=40, stop=["\n\n"], seed=2**63 + 5)
    exchange.request.sampling.CopyFrom(sampling)
    exchange.request.response_schema = '{"type": "object"}'
    student, teacher, call = told(exchange)
    assert (
        said_of(call).items()
        >= {
            "gen_ai.request.model": "topics",
            "gen_ai.request.temperature": 0.7,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.max_tokens": 40,
            "gen_ai.request.stop_sequences": ("\n\n",),
            "gen_ai.request.seed": 5 - 2**63,
            "gen_ai.output.type": "json",
        }.items()
    )
    assert (said_of(teacher)["server.address"], said_of(teacher)["server.port"]) == ("api.example.com", 443)
    assert said_of(teacher)["gen_ai.request.model"] == "gpt-4"
    assert not said_of(student).keys() & {"server.address", "server.port"}


def test_a_span_says_nothing_of_what_nobody_said() -> None:
    exchange = an_exchange()
    exchange.attempts[1].MergeFrom(events.Attempt(refusal="unavailable: HTTP 500", end=inference.END_FAILED))
    for field in ("model", "finish", "usage"):
        exchange.attempts[1].ClearField(field)
    exchange.ClearField("reply")
    _, teacher, call = told(exchange)
    asked = {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"}
    assert said_of(call).keys() == asked | {"gen_ai.response.id"}
    assert said_of(teacher).keys() == asked | {"server.address", "server.port", "error.type"}
    assert teacher.name == "chat gpt-4"


def test_a_streams_span_says_when_it_began_to_speak() -> None:
    exchange = an_exchange()
    assert "gen_ai.request.stream" not in said_of(told(exchange)[-1])
    exchange.attempts[1].first_text_us, exchange.reply.timings.first_token_us = 250_000, 271_000
    _, teacher, call = told(exchange)
    for span, first_s in ((teacher, 0.25), (call, 0.271)):
        assert said_of(span)["gen_ai.request.stream"] is True
        assert said_of(span)["gen_ai.response.time_to_first_chunk"] == first_s


def test_nothing_is_made_of_a_call_that_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_call", lambda _: pytest.fail("attributes of a span that nobody gets"))
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
