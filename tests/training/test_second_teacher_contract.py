"""What every second teacher promises: one suite for the fake and for an OpenAI-compatible API."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from tests.services.gateway.openai_like import KEY, OpenAILike, serving
from training.second_teacher import (
    OpenAISecondTeacher,
    SecondTeacher,
    SecondTeacherFailed,
    SecondTeacherSettings,
    Shot,
    configured,
)

pytestmark = pytest.mark.contract
SHOTS = [("one?", "1"), ("two?", "2")]


class FakeSecondTeacher:
    """Answers by a rule, None fails; and keeps what it was asked."""

    name = "fake"

    def __init__(self, rule: Callable[[str], str | None]) -> None:
        self.rule = rule
        self.asked: list[tuple[str, list[Shot], str]] = []
        self.lock = threading.Lock()

    def answer(self, instructions: str, shots: Sequence[Shot], question: str) -> str:
        with self.lock:
            self.asked.append((instructions, [*shots], question))
        said = self.rule(question)
        if not said:
            raise SecondTeacherFailed("it is away")
        return said.strip()


def echo(question: str) -> str | None:
    """Nothing to what is no question."""
    return f" {question.upper()}\n" if "?" in question else None


class Answering(OpenAILike):
    """A model that follows the same rule."""

    def _whole(self, body):
        self.text = echo(body["messages"][-1]["content"]) or ""
        return super()._whole({**body, "max_tokens": 9})


def reaching(server: OpenAILike) -> OpenAISecondTeacher:
    settings = SecondTeacherSettings(base_url=server.url, api_key=SecretStr(KEY), model="other-1")
    return OpenAISecondTeacher(settings, retries=0)


@dataclass
class Rig:
    teacher: SecondTeacher


@pytest.fixture(params=["fake", "openai"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "fake":
        yield Rig(FakeSecondTeacher(echo))
        return
    async with serving(Answering()) as server:
        teacher = reaching(server)
        yield Rig(teacher)
        teacher.close()


async def answer(teacher: SecondTeacher, question: str, instructions: str = "", shots: Sequence[Shot] = ()) -> str:
    """In a thread, as the server lives on this one."""
    return await asyncio.to_thread(teacher.answer, instructions, shots, question)


async def test_it_answers_without_outer_space(rig: Rig) -> None:
    assert await answer(rig.teacher, "what?", "Answer.", SHOTS) == "WHAT?"


async def test_it_fails_with_a_reason_where_it_says_nothing(rig: Rig) -> None:
    with pytest.raises(SecondTeacherFailed) as failed:
        await answer(rig.teacher, "nothing is asked")
    assert str(failed.value)


async def test_it_can_be_asked_from_many_threads(rig: Rig) -> None:
    said = await asyncio.gather(*[answer(rig.teacher, f"{place}?") for place in range(12)])
    assert said == [f"{place}?" for place in range(12)]


async def test_the_api_is_told_the_instructions_and_the_examples_as_turns_before_the_question() -> None:
    async with serving(Answering()) as server:
        teacher = reaching(server)
        await answer(teacher, "three?", "Count.", SHOTS)
        await answer(teacher, "four?")
        teacher.close()
    whole, bare = server.bodies
    assert (whole["model"], whole["temperature"]) == ("other-1", 0)
    assert [(told["role"], told["content"]) for told in whole["messages"]] == [
        ("system", "Count."),
        ("user", "one?"),
        ("assistant", "1"),
        ("user", "two?"),
        ("assistant", "2"),
        ("user", "three?"),
    ]
    assert [told["role"] for told in bare["messages"]] == ["user"]


async def test_one_that_was_sent_to_another_process_asks_the_same_api_there() -> None:
    async with serving(Answering()) as server:
        here = reaching(server)
        there = pickle.loads(pickle.dumps(here))  # noqa: S301 - our own
        assert (there.name, await answer(there, "so?")) == ("other-1", "SO?")
        here.close()
        there.close()
    assert server.keys == [f"Bearer {KEY}"]


async def test_an_api_that_refuses_is_told_without_its_key() -> None:
    async with serving(Answering(status=401, said=f"wrong key {KEY}")) as server:
        teacher = reaching(server)
        with pytest.raises(SecondTeacherFailed, match="wrong key") as failed:
            await answer(teacher, "why?")
        teacher.close()
    assert KEY not in str(failed.value)


async def test_what_is_no_completion_says_which_setting_to_check() -> None:
    async with serving(Answering(raw='"hello"')) as server:
        teacher = reaching(server)
        with pytest.raises(SecondTeacherFailed, match="SECOND_TEACHER_BASE_URL"):
            await answer(teacher, "why?")
        teacher.close()


def test_none_is_configured_without_an_address_and_one_without_a_model_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert configured(SecondTeacherSettings()) is None
    monkeypatch.setenv("SECOND_TEACHER_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="no SECOND_TEACHER_MODEL"):
        configured(SecondTeacherSettings())
