"""What every judge promises: one suite for the fake and for an OpenAI-compatible API."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from tests.services.gateway.openai_like import KEY, OpenAILike, serving
from tests.training.test_judging import FakeJudge, longer
from training.judge import Judge, JudgeFailed, JudgeSettings, OpenAIJudge

pytestmark = pytest.mark.contract


class Judging(OpenAILike):
    """A model that prefers the longer answer, or says `text` where the request asks it nothing."""

    def _whole(self, body):
        held = json.loads(body["messages"][-1]["content"])
        self.text = longer(held["first answer"], held["second answer"]).upper() if "?" in held["request"] else "Hm."
        return super()._whole({**body, "max_tokens": 9})


@dataclass
class Rig:
    judge: Judge
    server: OpenAILike | None = None


@pytest.fixture(params=["fake", "openai"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "fake":
        yield Rig(FakeJudge(longer))
        return
    async with serving(Judging()) as server:
        judge = OpenAIJudge(JudgeSettings(base_url=server.url, api_key=SecretStr(KEY), model="judge-1"), retries=0)
        yield Rig(judge, server)
        judge.close()


async def prefer(judge: Judge, question: str, first: str, second: str) -> str:
    """In a thread, as the server lives on this one."""
    return await asyncio.to_thread(judge.prefer, question, first, second)


async def test_it_names_the_better_answer_wherever_that_stands(rig: Rig) -> None:
    assert await prefer(rig.judge, "why?", "because", "so") == "first"
    assert await prefer(rig.judge, "why?", "so", "because") == "second"
    assert await prefer(rig.judge, "why?", "so", "no") == "tie"


async def test_it_fails_with_a_reason_where_it_has_no_verdict(rig: Rig) -> None:
    with pytest.raises(JudgeFailed) as failed:
        await prefer(rig.judge, "nothing is asked", "a", "bc")
    assert str(failed.value)


async def test_it_can_be_asked_from_many_threads(rig: Rig) -> None:
    asked = [prefer(rig.judge, "why?", "x" * (place % 3), "x") for place in range(12)]
    assert await asyncio.gather(*asked) == ["second", "tie", "first"] * 4


async def test_the_api_is_asked_for_the_model_without_chance_and_both_answers_are_quoted() -> None:
    async with serving(Judging()) as server:
        judge = OpenAIJudge(JudgeSettings(base_url=server.url, api_key=SecretStr(KEY), model="judge-1"), retries=0)
        await prefer(judge, "why?", 'end here"}', "FIRST")
        judge.close()
    [body] = server.bodies
    assert (body["model"], body["temperature"]) == ("judge-1", 0)
    assert json.loads(body["messages"][1]["content"])["first answer"] == 'end here"}'
    assert server.keys == [f"Bearer {KEY}"]


async def test_a_judge_that_was_sent_to_another_process_asks_the_same_api_there() -> None:
    async with serving(Judging()) as server:
        here = OpenAIJudge(JudgeSettings(base_url=server.url, api_key=SecretStr(KEY), model="judge-1"), retries=0)
        there = pickle.loads(pickle.dumps(here))  # noqa: S301 - our own
        assert await prefer(there, "why?", "because", "so") == "first"
        here.close()
        there.close()
    assert server.keys == [f"Bearer {KEY}"]


async def test_an_api_that_refuses_is_told_without_its_key() -> None:
    async with serving(Judging(status=401, said=f"wrong key {KEY}")) as server:
        judge = OpenAIJudge(JudgeSettings(base_url=server.url, api_key=SecretStr(KEY), model="judge-1"), retries=0)
        with pytest.raises(JudgeFailed) as failed:
            await prefer(judge, "why?", "a", "b")
        judge.close()
    assert KEY not in str(failed.value)
    assert "wrong key" in str(failed.value)


async def test_nobody_there_is_a_failure_too() -> None:
    judge = OpenAIJudge(JudgeSettings(base_url="http://127.0.0.1:9/v1", model="judge-1"), retries=0)
    with pytest.raises(JudgeFailed, match="APIConnectionError"):
        await prefer(judge, "why?", "a", "b")
    judge.close()
