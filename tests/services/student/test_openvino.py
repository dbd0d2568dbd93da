"""Faults of the OpenVINO engine, on the real one; what it promises beside them is in the engine contract."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import openvino_genai
import pytest

from services.student.config import Settings, Student
from services.student.engine import Delta, Finish, Load, Prompt
from services.student.openvino import OpenVino, build
from tests.services.student.collector import Collector

pytestmark = pytest.mark.contract

LONG = 250


class Failing:
    """A pipeline whose step fails as OpenVINO's do."""

    def __init__(self, pipeline: Any) -> None:
        self.add_request = pipeline.add_request

    def step(self) -> None:
        raise RuntimeError("Exception from src/core.cpp:84:\nout of memory\n")


@pytest.fixture
def new_pipeline(tiny_student: Path) -> Callable[..., Any]:
    def make(num_kv_blocks: int = 64) -> Any:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = num_kv_blocks
        return openvino_genai.ContinuousBatchingPipeline(
            models_path=str(tiny_student), scheduler_config=scheduler, device="CPU"
        )

    return make


def engine_of(build_pipeline: Callable[[], Any], **settings: Any) -> Any:
    return closing(OpenVino(build_pipeline, (2,), Settings(**settings)))


def ask(engine: Any, id_: int, prompt_tokens: int = 3, max_tokens: int = 4) -> Collector:
    return submit(engine, id_, tuple(range(10, 10 + prompt_tokens)), max_tokens)


def submit(engine: Any, id_: int, token_ids: tuple[int, ...], max_tokens: int = 20) -> Collector:
    collector = Collector()
    engine.submit(Prompt(id_, token_ids, max_tokens), collector)
    return collector


def test_a_failed_step_fails_all_who_are_there_and_the_next_is_answered(new_pipeline: Callable[..., Any]) -> None:
    pipelines = iter([Failing(new_pipeline()), new_pipeline()])
    with engine_of(lambda: next(pipelines), max_running=1) as engine:
        assert ask(engine, 1).wait().error == "engine: out of memory"
        assert engine.load() == Load(0, 0)
        assert ask(engine, 2).wait().finish is Finish.LENGTH


def test_while_no_pipeline_can_be_built_requests_fail_with_the_reason(new_pipeline: Callable[..., Any]) -> None:
    outcomes = iter([Failing(new_pipeline()), RuntimeError("no such file"), new_pipeline()])

    def build() -> Any:
        outcome = next(outcomes)
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    with engine_of(build) as engine:
        errors = [ask(engine, id_).wait().error for id_ in (1, 2)]
        assert errors == ["engine: out of memory", "engine: no such file"]
        assert ask(engine, 3).wait().finish is Finish.LENGTH


def test_a_request_beyond_the_cache_fails_alone(new_pipeline: Callable[..., Any]) -> None:
    with engine_of(lambda: new_pipeline(num_kv_blocks=4)) as engine:
        small, large = ask(engine, 1), ask(engine, 2, prompt_tokens=260, max_tokens=LONG)
        assert "cache is too small" in large.wait().error
        assert small.wait().finish is Finish.LENGTH


def test_a_request_that_openvino_refuses_fails_alone(new_pipeline: Callable[..., Any]) -> None:
    with engine_of(new_pipeline) as engine:
        good, empty = ask(engine, 1), ask(engine, 2, prompt_tokens=0)
        assert empty.wait().error == "engine: Prompt length cannot be 0"
        assert good.wait().finish is Finish.LENGTH


@pytest.mark.parametrize("first", [1, 5, 20])
def test_who_comes_in_a_crowd_while_others_are_answered_gets_what_he_would_get_alone(
    tiny_student: Path, first: int
) -> None:
    student = Student(engine="openvino", base_model="random", max_tokens=LONG, eos_token_ids=(2,))
    prompts = [(10, 11, 12, *(20 + int(digit) for digit in str(number))) for number in range(32)]
    with closing(build(tiny_student, student, Settings())) as engine:
        alone = [submit(engine, id_, prompt).wait().token_ids for id_, prompt in enumerate(prompts)]
        crowd = [Collector() for _ in prompts]

        def bring_the_others(delta: Delta) -> None:
            if not crowd[first - 1].begun.is_set():  # in the engine's thread: they all come between two steps
                for number in range(first, len(prompts)):
                    engine.submit(Prompt(100 + number, prompts[number], 20), crowd[number])
            crowd[first - 1](delta)

        for number in range(first):
            emit = bring_the_others if number == first - 1 else crowd[number]
            engine.submit(Prompt(100 + number, prompts[number], 20), emit)
        assert [collector.wait().token_ids for collector in crowd] == alone
