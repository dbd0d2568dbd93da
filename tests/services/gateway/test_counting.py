"""What Prometheus is told of an exchange, under the names of the conventions for generative AI."""

import pytest
from prometheus_client import REGISTRY

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.counting import count

TASK = "counted"


def an_exchange() -> events.Exchange:
    """The student's answer was not kept; the teacher's came in pieces."""
    exchange = events.Exchange(outcome=events.OUTCOME_ANSWERED)
    exchange.request.task = TASK
    exchange.attempts.add(
        backend=inference.BACKEND_STUDENT,
        model="tiny",
        latency_us=20_000,
        refusal="one_of: 'secret' is none of the 3 values",
        usage=inference.Usage(prompt_tokens=5, completion_tokens=2),
        cost_usd="0",
    )
    exchange.attempts.add(
        backend=inference.BACKEND_TEACHER,
        model="gpt-4",
        latency_us=400_000,
        first_text_us=100_000,
        usage=inference.Usage(prompt_tokens=7, completion_tokens=4),
        cost_usd="0.01",
    )
    exchange.reply.MergeFrom(inference.Reply(answered_by=inference.BACKEND_TEACHER, model="gpt-4"))
    exchange.reply.timings.MergeFrom(inference.Timings(total_us=425_000, first_token_us=125_000))
    return exchange


def sums(exchange: events.Exchange, name: str, provider: str, model: str, **labels: str) -> tuple[float, float]:
    """How many observations the exchange adds to a histogram, and their sum."""
    known = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": provider,
        "gen_ai_request_model": TASK,
        "gen_ai_response_model": model,
        **labels,
    }

    def now() -> tuple[float, float]:
        values = [REGISTRY.get_sample_value(f"{name}_{part}", known) or 0.0 for part in ("count", "sum")]
        return values[0], values[1]

    before = now()
    count(exchange)
    after = now()
    return after[0] - before[0], pytest.approx(after[1] - before[1])


def test_the_call_is_the_gateways_and_each_backends_part_is_its_own():
    exchange = an_exchange()
    assert sums(exchange, "gen_ai_server_request_duration_seconds", "tutelage", "gpt-4", error_type="") == (1, 0.425)
    assert sums(exchange, "gen_ai_server_time_to_first_token_seconds", "tutelage", "gpt-4") == (1, 0.125)
    asked = "gen_ai_client_operation_duration_seconds"
    assert sums(exchange, asked, "openai", "gpt-4", error_type="") == (1, 0.4)
    assert sums(exchange, asked, "tutelage", "tiny", error_type="one_of") == (1, 0.02)
    assert sums(exchange, "gen_ai_client_operation_time_to_first_chunk_seconds", "openai", "gpt-4") == (1, 0.1)


def test_the_tokens_of_each_backend_are_counted_and_a_kept_answer_uses_none():
    exchange, tokens = an_exchange(), "gen_ai_client_token_usage"
    assert sums(exchange, tokens, "openai", "gpt-4", gen_ai_token_type="input") == (1, 7)
    assert sums(exchange, tokens, "openai", "gpt-4", gen_ai_token_type="output") == (1, 4)
    assert sums(exchange, tokens, "tutelage", "tiny", gen_ai_token_type="output") == (1, 2)
    exchange.ClearField("attempts")
    exchange.reply.cached = True
    assert sums(exchange, tokens, "openai", "gpt-4", gen_ai_token_type="input") == (0, 0)


def test_the_time_from_token_to_token_is_that_of_a_whole_stream():
    exchange, each = an_exchange(), "gen_ai_server_time_per_output_token_seconds"
    assert sums(exchange, each, "tutelage", "gpt-4") == (1, 0.1)
    exchange.attempts[1].resumed_characters = 10
    assert sums(exchange, each, "tutelage", "gpt-4") == (0, 0)
    exchange = an_exchange()
    exchange.attempts[1].usage.completion_tokens = 1
    assert sums(exchange, each, "tutelage", "gpt-4") == (0, 0)


def test_who_is_left_alone_was_not_asked():
    exchange = an_exchange()
    exchange.attempts[0].MergeFrom(events.Attempt(refusal="breaker: it failed too often"))
    exchange.attempts[0].latency_us = 0
    asked = "gen_ai_client_operation_duration_seconds"
    assert sums(exchange, asked, "tutelage", "tiny", error_type="breaker") == (0, 0)
