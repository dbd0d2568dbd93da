"""The `openai` package against the gateway: what it does by changing `base_url`."""

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
from pydantic import BaseModel

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import topics
from services.gateway.backends import BackendFailed, FailureKind
from tests.services.gateway.calls import eventually_written
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import until

pytestmark = pytest.mark.contract
QUESTION = [{"role": "user", "content": "what is it?"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.http_url, api_key="none", max_retries=0) as client:
        yield client


def asking(client: openai.AsyncOpenAI, **fields):
    return client.chat.completions.create(**{"model": "tutelage/say", "messages": QUESTION, **fields})


async def test_a_chat_is_answered_and_kept_as_an_exchange(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    completion = await asking(client)
    exchange = gateway.exchange
    assert completion.id == f"chatcmpl-{exchange.id}"
    assert (completion.object, completion.model) == ("chat.completion", "tutelage/say")
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "the teacher says so",
        "stop",
    )
    assert completion.usage is not None
    assert completion.usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"}) == {
        "prompt_tokens": 100,
        "completion_tokens": 4,
        "total_tokens": 104,
    }
    assert exchange.origin == "http"
    assert exchange.request.messages[0].content == "what is it?"


async def test_who_answered_stands_in_the_headers_and_in_the_body(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    raw = await client.chat.completions.with_raw_response.create(model="tutelage/say", messages=QUESTION)
    told = {name: value for name, value in raw.headers.items() if name.startswith("x-tutelage")}
    assert told == {
        "x-tutelage-exchange-id": gateway.exchange.id,
        "x-tutelage-answered-by": "student",
        "x-tutelage-model": "tiny",
        "x-tutelage-student-version": "3",
        "x-tutelage-cost-usd": gateway.exchange.reply.cost_usd,
    }
    completion = raw.parse()
    assert completion._request_id == gateway.exchange.id
    assert completion.model_extra is not None
    assert completion.model_extra["tutelage"]["why"] == gateway.exchange.reply.why
    assert completion.model_extra["tutelage"]["confidence"] == pytest.approx(-0.02)


async def test_a_stream_has_its_role_its_text_its_end_and_its_usage(
    gateway: Gateway, client: openai.AsyncOpenAI
) -> None:
    stream = await asking(client, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{gateway.exchange.id}"}
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert [delta.content for delta in deltas[1:-1]] == ["the", " teacher", " says", " so"]
    *_text, end, used = chunks
    assert end.choices[0].finish_reason == "stop"
    assert end.model_extra is not None
    assert end.model_extra["tutelage"]["answered_by"] == "teacher"
    assert used.choices == []
    assert used.usage is not None
    assert used.usage.total_tokens == 104
    assert stream.response.headers["x-tutelage-exchange-id"] == gateway.exchange.id


async def test_the_packages_own_stream_helper_puts_the_answer_together(
    gateway: Gateway, client: openai.AsyncOpenAI
) -> None:
    async with client.chat.completions.stream(model="tutelage/say", messages=QUESTION) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == "the teacher says so"


async def test_tools_go_there_and_back(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    call = inference.ToolCall(id="call_7", name="weather", arguments='{"city":"Bern"}')
    gateway.teacher.calls, gateway.teacher.finish = (call,), inference.FINISH_TOOL_CALLS
    completion = await asking(client, tools=[WEATHER])
    message = completion.choices[0].message
    assert (message.content, completion.choices[0].finish_reason) == (None, "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].to_dict() == {
        "id": "call_7",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Bern"}'},
    }
    gateway.teacher.calls, gateway.teacher.finish = (), inference.FINISH_STOP
    result = {"role": "tool", "tool_call_id": "call_7", "content": "rain"}
    completion = await asking(client, messages=[*QUESTION, message, result], tools=[WEATHER])
    assert completion.choices[0].message.content == "the teacher says so"
    asked = gateway.teacher.asks[1].request
    assert asked.messages[1].tool_calls[0] == call
    assert (asked.messages[2].role, asked.messages[2].tool_call_id) == (inference.ROLE_TOOL, "call_7")


async def test_tool_calls_come_through_a_stream(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    calls = [inference.ToolCall(id=f"call_{n}", name="weather", arguments='{"city":"Bern"}') for n in range(2)]
    gateway.teacher.calls, gateway.teacher.finish, gateway.teacher.text = tuple(calls), inference.FINISH_TOOL_CALLS, ""
    async with client.chat.completions.stream(model="tutelage/say", messages=QUESTION, tools=[WEATHER]) as stream:
        completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert message.tool_calls is not None
    assert [(one.id, json.loads(one.function.arguments)) for one in message.tool_calls] == [
        ("call_0", {"city": "Bern"}),
        ("call_1", {"city": "Bern"}),
    ]


class Address(BaseModel):
    street: str
    number: int


async def test_an_answer_is_parsed_into_a_class(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.teacher.text = '{"street":"Main St","number":5}'
    completion = await client.chat.completions.parse(model="tutelage/say", messages=QUESTION, response_format=Address)
    assert completion.choices[0].message.parsed == Address(street="Main St", number=5)
    schema = json.loads(gateway.exchange.request.response_schema)
    assert schema["properties"]["number"] == {"title": "Number", "type": "integer"}


async def test_an_answer_that_is_not_of_the_schema_is_no_answer(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.teacher.text = '{"street":"Main St"}'
    with pytest.raises(openai.InternalServerError, match="schema: ") as failed:
        await client.chat.completions.parse(model="tutelage/say", messages=QUESTION, response_format=Address)
    assert (failed.value.status_code, failed.value.code) == (502, "answer_not_valid")
    assert gateway.exchange.outcome == events.OUTCOME_FAILED


async def test_the_package_does_not_repeat_what_the_gateway_has_repeated(
    gateway: Gateway, client: openai.AsyncOpenAI
) -> None:
    patient = client.with_options(max_retries=2)
    gateway.teacher.text = '{"street":"Main St"}'
    with pytest.raises(openai.InternalServerError, match="schema: "):
        await patient.chat.completions.parse(model="tutelage/say", messages=QUESTION, response_format=Address)
    gateway.teacher.breaks()
    with pytest.raises(openai.InternalServerError, match="it is broken"):
        await asking(patient)
    assert len(gateway.teacher.asks) == 2


async def test_the_package_repeats_what_may_succeed_a_moment_later(
    gateway: Gateway, client: openai.AsyncOpenAI
) -> None:
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=0.001)
    with pytest.raises(openai.InternalServerError, match="HTTP 429"):
        await asking(client.with_options(max_retries=2))
    assert len(gateway.teacher.asks) == 3


async def test_the_models_are_the_tasks(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["tutelage/say"]
    assert (await client.models.retrieve("tutelage/say")).owned_by == "tutelage"
    with pytest.raises(openai.NotFoundError, match="GET /v1/models tells which there are"):
        await client.models.retrieve("tutelage/sing")


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"logprobs": True}, "logprobs", "are not told"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": [{"role": "user", "content": "x" * 300}]}, "messages", "300 bytes"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "none is of ROLE_USER"),
    ],
)
async def test_what_is_wrong_is_a_bad_request_that_names_the_field(
    client: openai.AsyncOpenAI, fields, param, said
) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as failed:
        await asking(client, **fields)
    assert (failed.value.param, failed.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize(("model", "said"), [("tutelage/sing", "defined are say"), ("gpt-4", "is not tutelage/<task>")])
async def test_a_model_that_there_is_not_has_openais_code(client: openai.AsyncOpenAI, model: str, said: str) -> None:
    with pytest.raises(openai.NotFoundError, match=said) as failed:
        await asking(client, model=model)
    assert (failed.value.code, failed.value.type) == ("model_not_found", "invalid_request_error")
    assert failed.value.param == "model"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_teacher_that_fails_before_its_first_word_is_an_error_with_its_status(
    gateway: Gateway, client: openai.AsyncOpenAI, stream: bool
) -> None:
    gateway.teacher.breaks()
    with pytest.raises(openai.InternalServerError, match="no backend could answer") as failed:
        await asking(client, stream=stream)
    assert (failed.value.status_code, failed.value.code) == (503, "unavailable")
    gateway.teacher.breaks(FailureKind.REFUSED)
    with pytest.raises(openai.BadRequestError):
        await asking(client, stream=stream)


async def test_a_stream_that_breaks_raises_where_it_is_read(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.teacher.breaks(after=2)
    stream = await asking(client, stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(3)] == ["", "the", " teacher"]
    with pytest.raises(openai.APIError, match="it is broken"):
        await anext(stream)
    assert gateway.exchange.outcome == events.OUTCOME_FAILED


async def test_too_many_open_calls_are_a_rate_limit_that_says_when_to_come_again(
    gateway: Gateway, client: openai.AsyncOpenAI
) -> None:
    gateway.teacher.delay_s = 60
    held = [asyncio.create_task(asking(client)) for _ in range(4)]
    await until(lambda: len(gateway.teacher.asks) == 4)
    with pytest.raises(openai.RateLimitError, match="4 calls are open") as failed:
        await asking(client)
    assert failed.value.response.headers["retry-after"] == "1"
    for call in held:
        call.cancel()
    await until(lambda: gateway.teacher.cancelled == 4)


async def test_the_packages_timeout_is_the_calls_deadline(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.teacher.delay_s = 60
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
        await asking(client, timeout=1)
    exchange = await eventually_written(gateway)
    assert exchange.outcome in {events.OUTCOME_DEADLINE_EXCEEDED, events.OUTCOME_CANCELLED}


async def test_a_deadline_of_ours_is_told_before_it_has_passed(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    gateway.teacher.delay_s = 60
    with pytest.raises(openai.InternalServerError, match=r"no answer within the deadline of 0\.10 s") as failed:
        await asking(client, extra_headers={"x-tutelage-timeout-ms": "100"})
    assert (failed.value.status_code, failed.value.code) == (504, "timeout")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_goes_away_cancels_his_call(
    gateway: Gateway, client: openai.AsyncOpenAI, stream: bool
) -> None:
    gateway.teacher.delay_s = 60
    call = asyncio.create_task(asking(client, stream=stream))
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert gateway.teacher.cancelled == 1


async def test_the_same_idempotency_key_is_the_same_exchange(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    headers = {"idempotency-key": "order 7"}
    first = await asking(client, extra_headers=headers)
    again = await asking(client, extra_headers=headers, stream=True)
    chunks = [chunk async for chunk in again]
    assert {chunk.id for chunk in chunks} == {first.id}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "the teacher says so"
    assert len(gateway.spool.exchanges) == 1


async def test_feedback_names_a_completion_by_its_id(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    completion = await asking(client, user="customer 7")
    said = {"id": completion.id, "model": completion.model, "user": "customer 7", "rating": 1, "correction": "it is"}
    receipt = await client.post("/feedback", body=said, cast_to=dict[str, str])
    stored = topics.decode(gateway.spool.records[0])
    assert receipt == {"id": stored.id, "object": "feedback", "exchange_id": gateway.exchange.id}
    assert (stored.exchange_id, stored.group_key, stored.correction) == (gateway.exchange.id, "customer 7", "it is")
    with pytest.raises(openai.BadRequestError, match="ratng: Extra inputs are not permitted"):
        await client.post("/feedback", body={**said, "ratng": 1}, cast_to=dict[str, str])


async def test_the_synchronous_client_does_the_same(gateway: Gateway) -> None:
    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=gateway.http_url, api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(model="tutelage/say", messages=QUESTION)
            stream = client.chat.completions.create(model="tutelage/say", messages=QUESTION, stream=True)
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == ("the teacher says so", "the teacher says so")
