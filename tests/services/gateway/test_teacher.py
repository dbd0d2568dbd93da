"""The teacher over HTTP: what is sent, what comes back, and what is told when it fails."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from pydantic import SecretStr

from protos import inference_pb2 as inference
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.teacher import OpenAITeacher
from services.gateway.teacher_wire import Resumes
from tests.services.gateway.examples import an_ask, until
from tests.services.gateway.openai_like import KEY, OpenAILike, serving

pytestmark = pytest.mark.contract
CALLS = [
    {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}},
    {"id": "call_b", "type": "function", "function": {"name": "buy", "arguments": '{"n":2}'}},
]


@pytest.fixture
async def server() -> AsyncIterator[OpenAILike]:
    async with serving() as server:
        yield server


@pytest.fixture
async def teacher(server: OpenAILike) -> AsyncIterator[OpenAITeacher]:
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_retries=2)
    yield teacher
    await teacher.close()


def ignore(_text: str) -> None:
    """Hears a stream."""


async def failure(teacher: OpenAITeacher, on_text: Any = None) -> BackendFailed:
    with pytest.raises(BackendFailed) as failed:
        await teacher.answer(an_ask(), on_text)
    assert KEY not in str(failed.value)
    return failed.value


async def test_the_tasks_model_is_asked_with_the_key(teacher: OpenAITeacher, server: OpenAILike):
    await teacher.answer(an_ask(), None)
    assert server.bodies[0]["model"] == "gpt-4"
    assert server.keys == [f"Bearer {KEY}"]


async def test_a_model_of_the_settings_takes_the_tasks_place(server: OpenAILike):
    teacher = OpenAITeacher(server.url, SecretStr(""), model="llama", token_limit_field="max_tokens")
    assert (await teacher.answer(an_ask(), None)).model == "llama"
    assert server.bodies[0]["model"] == "llama"
    await teacher.close()


@pytest.mark.parametrize("on_text", [None, ignore])
async def test_tool_calls_come_back_whole_also_from_a_stream(teacher: OpenAITeacher, server: OpenAILike, on_text: Any):
    server.text, server.tool_calls, server.finish = "", CALLS, "tool_calls"
    attempt = await teacher.answer(an_ask(), on_text)
    found = [(call.id, call.name, call.arguments) for call in attempt.message.tool_calls]
    assert found == [("call_a", "look", '{"city":"Rome"}'), ("call_b", "buy", '{"n":2}')]
    assert attempt.finish == inference.FINISH_TOOL_CALLS


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_failure_is_tried_again(teacher: OpenAITeacher, server: OpenAILike, status: int):
    server.status, server.failures = status, 1
    assert (await teacher.answer(an_ask(), None)).message.content == "one two three"
    assert len(server.bodies) == 2


@pytest.mark.parametrize("on_text", [None, ignore])
async def test_a_connection_that_breaks_before_the_answer_is_tried_again(
    teacher: OpenAITeacher, server: OpenAILike, on_text: Any
):
    server.resets = 1
    assert (await teacher.answer(an_ask(), on_text)).message.content == "one two three"
    assert len(server.bodies) == 2


async def test_no_more_is_tried_than_allowed(teacher: OpenAITeacher, server: OpenAILike):
    server.status, server.headers = 500, {"retry-after-ms": "0"}
    assert (await failure(teacher)).kind is FailureKind.UNAVAILABLE
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_would_fail_again_is_not_tried_again(teacher: OpenAITeacher, server: OpenAILike, status: int):
    server.status = status
    await failure(teacher)
    assert len(server.bodies) == 1


async def test_a_wait_that_would_end_after_the_deadline_is_told_instead(teacher: OpenAITeacher, server: OpenAILike):
    server.status, server.headers = 429, {"retry-after": "31"}  # The ask has 30 seconds.
    failed = await failure(teacher)
    assert (failed.kind, failed.retry_after_s, len(server.bodies)) == (FailureKind.UNAVAILABLE, 31.0, 1)


async def test_a_stream_that_has_begun_is_not_tried_again(teacher: OpenAITeacher, server: OpenAILike):
    server.breaks_off = True
    await failure(teacher, ignore)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (400, FailureKind.REFUSED, "HTTP 400"),
        (401, FailureKind.UNAVAILABLE, "check TEACHER_API_KEY"),
        (403, FailureKind.UNAVAILABLE, "check TEACHER_API_KEY"),
        (404, FailureKind.UNAVAILABLE, "check TEACHER_BASE_URL"),
        (422, FailureKind.REFUSED, "HTTP 422"),
        (402, FailureKind.UNAVAILABLE, "no money left"),
        (429, FailureKind.UNAVAILABLE, "no more requests now"),
        (500, FailureKind.UNAVAILABLE, "HTTP 500"),
    ],
)
async def test_a_refusal_is_told_without_the_key(server: OpenAILike, status: int, kind: FailureKind, told: str):
    server.status, server.said = status, f"what you sent with {KEY} is wrong"
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_retries=0)
    for on_text in (None, ignore):
        failed = await failure(teacher, on_text)
        assert (failed.kind, told in str(failed)) == (kind, True)
    await teacher.close()


@pytest.mark.parametrize("raw", ["{", '{"choices":[]}', "[]", '"hello"', "null"])
async def test_an_answer_that_is_no_chat_completion_is_unavailable(
    teacher: OpenAITeacher, server: OpenAILike, raw: str
):
    server.raw = raw
    assert (await failure(teacher)).kind is FailureKind.UNAVAILABLE


async def test_a_stream_that_breaks_off_is_unavailable(teacher: OpenAITeacher, server: OpenAILike):
    server.breaks_off = True
    pieces: list[str] = []
    assert (await failure(teacher, pieces.append)).kind is FailureKind.UNAVAILABLE
    assert "".join(pieces) == "one two three"


FIRST = '{"choices":[{"delta":{"content":"one"},"finish_reason":null}]}'
LAST = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
BROKEN = '{"choices":[{"delta":{},"finish_reason":"error"}]}'


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([FIRST], "ended before the answer did"),
        ([FIRST, "{"], "malformed"),
        ([FIRST, "[]"], "malformed"),
        ([FIRST, '{"error":{"message":"overloaded"}}'], "overloaded"),
        ([FIRST, BROKEN, "[DONE]"], "broke off"),
        (["[DONE]"], "empty answer"),
    ],
)
async def test_a_stream_that_is_no_answer_says_why(
    teacher: OpenAITeacher, server: OpenAILike, events: list[str], told: str
):
    server.events = events
    failed = await failure(teacher, ignore)
    assert (failed.kind, told in str(failed), len(server.bodies)) == (FailureKind.UNAVAILABLE, True, 1)


@pytest.mark.parametrize("events", [[FIRST, LAST], [FIRST, "[DONE]"], [FIRST, '{"choices":[]}', LAST, "[DONE]"]])
async def test_a_stream_needs_a_reason_or_a_mark_for_its_end(
    teacher: OpenAITeacher, server: OpenAILike, events: list[str]
):
    server.events = events
    assert (await teacher.answer(an_ask(), ignore)).message.content == "one"


@pytest.mark.parametrize("on_text", [None, ignore])
async def test_a_larger_answer_than_allowed_is_none(server: OpenAILike, on_text: Any):
    server.text = "word" * 500
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_answer_bytes=1_024)
    assert "TEACHER_MAX_ANSWER_BYTES" in str(await failure(teacher, on_text))


@pytest.mark.parametrize("resumes", [way for way in get_args(Resumes) if way != "no"])
async def test_a_teacher_goes_on_as_its_api_is_asked_to(server: OpenAILike, resumes: Resumes):
    server.text = "one two three" if resumes == "repeated_prefix" else " three"
    teacher = OpenAITeacher(server.url, SecretStr(KEY), resumes=resumes)
    pieces: list[str] = []
    assert teacher.resumes
    attempt = await teacher.answer(an_ask()._replace(partial="one two"), pieces.append)
    assert (attempt.message.content, "".join(pieces)) == ("one two three", " three")
    assert server.bodies[0]["messages"][-1]["content"] == "one two"


async def test_a_proxy_of_the_environment_is_not_taken(server: OpenAILike, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_retries=0)
    assert (await teacher.answer(an_ask(), None)).message.content


async def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="TEACHER_BASE_URL"):
        OpenAITeacher("api.openai.com/v1", SecretStr(KEY))


async def test_a_teacher_slower_than_its_time_is_a_timeout(server: OpenAILike):
    server.delay_s = 60
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_retries=0)
    with pytest.raises(BackendFailed) as failed:
        await teacher.answer(an_ask()._replace(timeout_s=0.1), None)
    assert failed.value.kind is FailureKind.TIMEOUT
    await teacher.close()


@pytest.mark.parametrize("on_text", [None, ignore])
async def test_a_cancelled_ask_is_dropped_at_the_teacher(teacher: OpenAITeacher, server: OpenAILike, on_text: Any):
    server.delay_s = 60
    asking = asyncio.create_task(teacher.answer(an_ask(), on_text))
    await until(lambda: server.bodies)
    asking.cancel()
    await until(lambda: server.dropped)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_more_calls_than_allowed_wait_their_turn(server: OpenAILike):
    server.delay_s = 60
    teacher = OpenAITeacher(server.url, SecretStr(KEY), max_calls=2)
    asking = [asyncio.create_task(teacher.answer(an_ask(), None)) for _ in range(3)]
    await until(lambda: len(server.bodies) == 2)
    asking[0].cancel()
    await until(lambda: len(server.bodies) == 3)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    assert server.dropped >= 1
    await teacher.close()
