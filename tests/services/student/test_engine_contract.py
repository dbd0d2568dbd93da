"""What every engine promises, asked of the fake, of the TensorRT-LLM adapter over its fake, of real OpenVINO, and, of
what concerns answers that are not generated, of the encoder. `test_encoder` asks it the rest.
"""

import importlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.errors import Overloaded
from services.student.config import Settings, Student
from services.student.engine import Engine, Finish, Load, Prompt
from tests.fakes import tensorrt_llm
from tests.fakes.student_engine import FakeEngine
from tests.services.student.collector import Build, Collector

GENERATING = ["fake", "tensorrt_llm", pytest.param("openvino", marks=pytest.mark.contract)]
ENGINES = [*GENERATING, pytest.param("encoder", marks=pytest.mark.contract)]
DIRECTORIES = {"openvino": "tiny_student", "encoder": "tiny_tagger"}
LONG = 250  # tokens; many steps more than any test needs


@pytest.fixture(params=GENERATING)
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Build:
    return builder(request, monkeypatch)


@pytest.fixture(params=ENGINES)
def build_any(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Build:
    return builder(request, monkeypatch)


def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Build:
    directory = Path("/nowhere")
    if request.param == "tensorrt_llm":
        tensorrt_llm.install(monkeypatch)
    if request.param in DIRECTORIES:
        directory = request.getfixturevalue(DIRECTORIES[request.param])

    def build_one(eos_token_ids: tuple[int, ...] = (2,), **settings: Any) -> closing[Engine]:
        if request.param == "fake":
            return closing(FakeEngine(eos_token_ids, **settings))
        student = Student(engine=request.param, base_model="random", max_tokens=LONG, eos_token_ids=eos_token_ids)
        module = importlib.import_module(f"services.student.{request.param}")
        return closing(module.build(directory, student, Settings(**settings)))

    return build_one


def ask(engine: Engine, id_: int, max_tokens: int = 8, **sampling: Any) -> Collector:
    collector = Collector()
    text = f"{id_} the house by the river, {id_} miles on"
    engine.submit(Prompt(id_, (10 + id_, 11, 12), max_tokens, text=text, **sampling), collector)
    return collector


def said(answer: Collector) -> tuple[tuple[int, ...], str]:
    answer.wait()
    return tuple(answer.token_ids), answer.text


def test_an_answer_has_as_many_tokens_as_allowed_and_a_logprob_for_each(build_any: Build) -> None:
    with build_any() as engine:
        answer = ask(engine, 1, max_tokens=8).wait()
    assert answer.finish is Finish.LENGTH
    assert len(answer.token_ids) == len(answer.logprobs) == 8
    assert all(logprob <= 0 for logprob in answer.logprobs)
    assert any(logprob < 0 for logprob in answer.logprobs)


def test_an_answer_comes_in_several_deltas(build: Build) -> None:
    with build() as engine:
        assert len(ask(engine, 1, max_tokens=8).wait().deltas) > 1


@pytest.mark.parametrize("which", ["first", "second"])
def test_each_end_token_ends_the_answer(build: Build, which: str) -> None:
    with build() as engine:
        tokens = ask(engine, 1).wait().token_ids
    eos = tokens[3]
    with build(eos_token_ids=(eos, 1) if which == "first" else (1, eos)) as engine:
        answer = ask(engine, 1).wait()
    assert answer.finish is Finish.STOP
    assert answer.token_ids == tokens[: tokens.index(eos) + 1]
    assert len(answer.logprobs) == len(answer.token_ids)


def test_a_greedy_answer_is_the_same_alone_and_among_others(build_any: Build) -> None:
    with build_any() as engine:
        alone = [said(ask(engine, i)) for i in range(32)]
        together = [ask(engine, i) for i in range(32)]
        assert [said(answer) for answer in together] == alone
    assert len(set(alone)) > 1


def test_the_seed_decides_the_draw(build: Build) -> None:
    with build() as engine:
        first, again, other = (ask(engine, 1, temperature=1.0, seed=seed).wait() for seed in (7, 7, 8))
    assert first.token_ids == again.token_ids
    assert first.token_ids != other.token_ids


def test_a_cancelled_answer_ends_and_gives_its_place_to_the_next(build: Build) -> None:
    with build(max_running=1) as engine:
        first, second = ask(engine, 1, max_tokens=LONG), ask(engine, 2)
        assert first.begun.wait(60)
        engine.cancel(1)
        assert first.wait().finish is Finish.CANCELLED
        assert second.wait().finish is Finish.LENGTH
        assert engine.load() == Load(0, 0)
    assert 0 < len(first.token_ids) < LONG


def test_a_request_can_be_cancelled_while_it_waits(build: Build) -> None:
    with build(max_running=1) as engine:
        first, second = ask(engine, 1, max_tokens=LONG), ask(engine, 2, max_tokens=LONG)
        assert first.begun.wait(60)
        assert engine.load() == Load(1, 1)
        engine.cancel(2)
        assert second.wait().finish is Finish.CANCELLED
        assert first.wait().finish is Finish.LENGTH
    assert second.token_ids == []


def test_cancelling_what_is_not_there_is_no_error(build_any: Build) -> None:
    with build_any() as engine:
        engine.cancel(99)
        assert ask(engine, 1).wait().finish is Finish.LENGTH


def test_one_request_too_many_is_refused_with_the_limit_and_the_others_are_answered(build: Build) -> None:
    with build(max_running=1, max_waiting=2) as engine:
        accepted = [ask(engine, i, max_tokens=LONG) for i in range(3)]
        with pytest.raises(Overloaded, match="overloaded: 2 requests waiting; limit 2"):
            ask(engine, 4)
        assert [answer.wait().finish for answer in accepted] == [Finish.LENGTH] * 3


def test_closing_cancels_all_that_is_left(build: Build) -> None:
    with build(max_running=1) as engine:
        answers = [ask(engine, i, max_tokens=LONG) for i in range(3)]
    assert [answer.wait().finish for answer in answers] == [Finish.CANCELLED] * 3
