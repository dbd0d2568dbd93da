import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest

from deploy.demo.chat import ChatRequest, Message
from deploy.demo.spoiling import Oracle
from deploy.demo.teacher import MAX_BODY_BYTES, Teacher, serving

TRUTH = {"number": "1522", "street": "Bever Ave SE", "city": "Cedar Rapids", "state": "IA", "zip": "52403"}
TEXT = "1522 Bever Ave SE Cedar Rapids IA 52403"
ANSWER = json.dumps(TRUTH, separators=(",", ":"))
KEY = "a key for tests"


def _teacher(latency_s: float = 0.0) -> Teacher:
    return Teacher(Oracle({TEXT: TRUTH}, error_rate=0.0, seed=7), KEY, latency_s=latency_s)


def _request(**more: object) -> ChatRequest:
    messages = [{"role": "system", "content": "Take it apart."}, {"role": "user", "content": TEXT}]
    return ChatRequest.model_validate({"model": "gpt-4", "messages": messages, **more})


def test_the_last_user_message_is_the_question() -> None:
    chat = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "?"}, {"role": "user", "content": "x"}]
    answer = _teacher().decide(ChatRequest.model_validate({"model": "gpt-4", "messages": chat}))
    assert "".join(answer.pieces) == '{"street":"x"}'


def test_a_message_in_parts_is_the_text_of_its_parts() -> None:
    parts = [
        {"type": "text", "text": "1 Main"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": " St"},
    ]
    assert Message.model_validate({"role": "user", "content": parts}).text == "1 Main St"


def test_an_answer_longer_than_allowed_is_cut_and_says_so() -> None:
    whole, cut = _teacher().decide(_request()), _teacher().decide(_request(max_completion_tokens=5))
    assert (whole.finish, cut.finish) == ("stop", "length")
    assert cut.pieces == whole.pieces[:5]
    assert cut.usage["completion_tokens"] == 5


def test_latency_is_spread_around_its_median_and_repeats_itself() -> None:
    texts = [f"{n} Main St" for n in range(999)]
    chats = [ChatRequest(model="gpt-4", messages=[Message(role="user", content=text)]) for text in texts]
    drawn, again = ([teacher.decide(chat).latency_s for chat in chats] for teacher in (_teacher(1.0), _teacher(1.0)))
    assert drawn == again
    assert 0.95 < sorted(drawn)[499] < 1.05
    assert 1.8 < sorted(drawn)[989] < 2.8


def test_unknown_questions_are_counted_and_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    teacher = _teacher()
    with caplog.at_level(logging.WARNING):
        for n in range(100):
            teacher.decide(_request(messages=[{"role": "user", "content": f"{n} Nowhere"}]))
    assert teacher.unknown == 100
    assert len(caplog.records) == 7


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serving(_teacher(), 0) as url,
        openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        yield client


def _messages(text: str = TEXT) -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "system", "content": "Take it apart."}, {"role": "user", "content": text}]


@pytest.mark.contract
async def test_openai_s_client_gets_the_answer_with_its_usage(client: openai.AsyncOpenAI) -> None:
    done = await client.chat.completions.create(
        model="gpt-4", messages=_messages(), response_format={"type": "json_object"}, temperature=0
    )
    assert done.choices[0].message.content == ANSWER
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0


@pytest.mark.contract
async def test_a_stream_adds_up_to_the_answer_and_ends_with_the_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4", messages=_messages(), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == ANSWER
    assert len([text for text in texts if text]) > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.contract
async def test_the_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-4"]


@pytest.mark.contract
async def test_a_wrong_key_is_refused_in_openai_s_words(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        await client.with_options(api_key="wrong").chat.completions.create(model="gpt-4", messages=_messages())
    assert refused.value.code == "invalid_api_key"


@pytest.mark.contract
async def test_a_request_without_messages_names_the_field(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="gpt-4", messages=[])
    assert refused.value.param == "messages"


@pytest.mark.contract
async def test_a_body_above_the_limit_and_an_unknown_path_are_refused_in_openai_s_shape(
    client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.APIStatusError) as large:
        await client.chat.completions.create(model="gpt-4", messages=_messages("x" * MAX_BODY_BYTES))
    with pytest.raises(openai.NotFoundError) as lost:
        await client.embeddings.create(model="gpt-4", input="x")
    assert large.value.status_code == 413
    assert large.value.type == lost.value.type == "invalid_request_error"


@pytest.mark.contract
async def test_two_hundred_and_fifty_six_calls_wait_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    all_are_waiting = asyncio.Barrier(256)

    async def sleep(latency_s: float) -> None:
        await all_are_waiting.wait()

    monkeypatch.setattr("deploy.demo.teacher.asyncio", SimpleNamespace(sleep=sleep))
    async with serving(_teacher(), 0) as url, openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        calls = (client.chat.completions.create(model="gpt-4", messages=_messages()) for _ in range(256))
        done = await asyncio.gather(*calls)
    assert [answer.choices[0].message.content for answer in done] == [ANSWER] * 256


@pytest.mark.contract
def test_the_command_serves_a_label_task_to_the_synchronous_client_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"text": "great", "answer": "positive"}\n', encoding="utf-8")
    command = [sys.executable, "-m", "deploy.demo.teacher", "--port", "0", "--error-rate", "0", "--latency-s", "0"]
    with subprocess.Popen(
        [*command, "--answers", str(tmp_path / "answers.jsonl")],
        env={**os.environ, "TEACHER_API_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stderr.readline())
        assert address is not None
        with openai.OpenAI(base_url=address.group(), api_key=KEY, max_retries=0) as client:
            done = client.chat.completions.create(model="gpt-4", messages=_messages("great"))
        process.terminate()
        assert process.wait(10) == 0
    assert done.choices[0].message.content == "positive"


@pytest.mark.contract
def test_the_command_asks_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").touch()
    command = [sys.executable, "-m", "deploy.demo.teacher", "--port", "0", "--answers", str(tmp_path / "answers.jsonl")]
    environment = {name: value for name, value in os.environ.items() if name != "TEACHER_API_KEY"}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "TEACHER_API_KEY" in refused.stderr
