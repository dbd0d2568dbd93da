"""A teacher that tells a usage that can't be is not believed."""

import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import estimates
from services.gateway.backends import Ask
from services.gateway.teacher import OpenAITeacher
from services.gateway.teacher_usage import MOST_THOUGHT, SAY_EVERY_S, Doubts, doubt
from tests.services.gateway import openai_like
from tests.services.gateway.examples import a_request, a_task, an_ask

WRITES = 50 + estimates.SLACK_TOKENS  # The task's limit.


def used(read: int = 1, written: int = 1) -> inference.Usage:
    return inference.Usage(prompt_tokens=read, completion_tokens=written)


def test_nothing_can_be_read_of_more_tokens_than_bytes() -> None:
    ask = an_ask()
    most = estimates.most(ask.task, ask.request).prompt_tokens
    assert doubt(ask, used(read=most), 0) == ""
    assert doubt(ask, used(read=most + 1), 0).startswith(f"{most + 1:,} prompt tokens, and it was sent")
    longer = Ask(*ask)._replace(partial="é" * 10)
    assert doubt(longer, used(read=most + 20), 0) == ""
    assert doubt(longer, used(read=most + 21), 0)


def test_nothing_can_be_written_of_more_tokens_than_it_may() -> None:
    assert doubt(an_ask(), used(written=WRITES), 0) == ""
    assert doubt(an_ask(), used(written=WRITES + 1), 0) == "115 completion tokens, and it could write 114"
    short = an_ask(sampling=inference.Sampling(max_tokens=3))
    assert doubt(short, used(written=WRITES), 0)
    assert doubt(short, used(written=3), 0) == ""


def test_reasoning_that_is_told_is_written_beside_the_limit_as_far_as_anybody_reasons() -> None:
    assert doubt(an_ask(), used(written=WRITES + 9_000), 9_000) == ""
    assert doubt(an_ask(), used(written=WRITES + 10**9), 10**9)
    assert doubt(an_ask(), used(written=WRITES + MOST_THOUGHT), 10**9) == ""


@given(st.text(max_size=150), st.lists(st.text(max_size=40), max_size=3))
def test_a_tokenizer_of_bytes_is_always_believed(text: str, tools: list[str]) -> None:
    request = a_request(text, tools=[inference.Tool(name="look", description=told) for told in tools])
    ask = an_ask()._replace(request=request)
    sent = a_task().instructions + text + "".join("look" + told for told in tools)
    assert doubt(ask, used(read=len(sent.encode()) + 60), 0) == ""


def test_it_is_counted_each_time_and_said_once_a_minute() -> None:
    now_s, metric = [0.0], telemetry.IMPLAUSIBLE.labels("say")._value
    doubts, before = Doubts(lambda: now_s[0]), metric.get()
    with structlog.testing.capture_logs() as logged:
        for moment_s in (0.0, SAY_EVERY_S - 1, SAY_EVERY_S):
            now_s[0] = moment_s
            attempt = events.Attempt(usage=used(written=10**6))
            doubts.look(an_ask(), attempt, 0)
            assert not attempt.HasField("usage")
    assert (len(logged), metric.get() - before) == (2, 3)


@pytest.mark.contract
@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 4_000_000_000}, False),
        ({"prompt_tokens": 4_000_000_000, "completion_tokens": 5}, False),
        ({"prompt_tokens": 5, "completion_tokens": 7}, True),
        ({"prompt_tokens": 5, "completion_tokens": 900}, False),
        ({"prompt_tokens": 5, "completion_tokens": 900, "completion_tokens_details": {"reasoning_tokens": 890}}, True),
        ({"prompt_tokens": 5, "completion_tokens": 900, "completion_tokens_details": ["reasoning_tokens"]}, False),
    ],
)
async def test_what_an_api_tells_is_billed_if_it_can_be(usage: dict[str, object], told: bool) -> None:
    choice = {"message": {"content": "it is so"}, "finish_reason": "stop"}
    async with openai_like.serving(
        openai_like.OpenAILike(raw=json.dumps({"choices": [choice], "usage": usage}))
    ) as api:
        teacher = OpenAITeacher(api.url, SecretStr("a key"))
        attempt = await teacher.answer(an_ask(), None)
        await teacher.close()
    assert estimates.is_told(attempt.usage) is told
    assert not told or attempt.usage.completion_tokens == usage["completion_tokens"]
