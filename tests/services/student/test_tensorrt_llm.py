"""What the adapter asks of TensorRT-LLM's API; what it makes of the answers is in the engine contract."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from services.student.config import Settings, Student
from services.student.engine import Engine, Finish, Prompt
from tests.fakes import tensorrt_llm
from tests.services.student.collector import Collector

STUDENT = Student(engine="tensorrt_llm", base_model="m", max_tokens=100, eos_token_ids=(1000, 1001))


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    tensorrt_llm.install(monkeypatch)
    import services.student.tensorrt_llm as module  # noqa: PLC0415 - only importable now

    return module


@pytest.fixture
def llm() -> tensorrt_llm.LLM:
    return tensorrt_llm.LLM("model", max_batch_size=4)


@pytest.fixture
def engine(adapter: ModuleType, llm: tensorrt_llm.LLM) -> Iterator[Engine]:
    with closing(adapter.TensorRtLlm(llm, STUDENT.eos_token_ids, Settings())) as engine:
        yield engine


def ask(engine: Engine, max_tokens: int = 3, temperature: float = 0.0) -> Collector:
    collector = Collector()
    engine.submit(Prompt(1, (5, 6), max_tokens, temperature, top_p=0.5, seed=9), collector)
    return collector


def test_the_model_is_loaded_for_token_ids_with_its_part_of_the_memory(adapter: ModuleType) -> None:
    adapter.build(Path("/models/1"), STUDENT, Settings(max_running=7, gpu_cache_fraction=0.3)).close()
    made = tensorrt_llm.LLM.made
    assert (made["model"], made["skip_tokenizer_init"], made["max_batch_size"]) == ("/models/1", True, 7)
    assert made["kv_cache_config"].free_gpu_memory_fraction == 0.3
    assert made["kv_cache_config"].enable_block_reuse


def test_a_greedy_request_asks_for_the_likeliest_token_with_its_logprob(adapter: ModuleType) -> None:
    params = adapter._sampling(Prompt(1, (5,), 3), (1000, 1001))
    assert params == tensorrt_llm.SamplingParams(
        end_id=1000, stop_token_ids=[1001], max_tokens=3, top_k=1, logprobs=1, detokenize=False
    )


def test_a_drawn_request_passes_its_sampling_on(adapter: ModuleType) -> None:
    params = adapter._sampling(Prompt(1, (5,), 3, 0.7, 0.5, 9), (1000,))
    assert params == tensorrt_llm.SamplingParams(
        end_id=1000, max_tokens=3, temperature=0.7, top_p=0.5, seed=9, logprobs=1, detokenize=False
    )


def test_the_logprob_is_the_generated_tokens_own_whatever_its_form(adapter: ModuleType) -> None:
    entry = {3: tensorrt_llm.Logprob(-0.25), 8: tensorrt_llm.Logprob(-0.1)}
    output = tensorrt_llm.CompletionOutput(token_ids=[3, 4], logprobs=[entry, -0.5])  # type: ignore[list-item]
    assert adapter._delta(output, 0).logprobs == (-0.25, -0.5)


def test_cancelling_aborts_the_generation(engine: Engine, llm: tensorrt_llm.LLM) -> None:
    answer = ask(engine, max_tokens=10_000)
    assert answer.begun.wait(60)
    engine.cancel(1)
    assert answer.wait().finish is Finish.CANCELLED
    assert llm.results[0].aborted
    assert llm.unfinished == 0


def test_a_request_that_fails_ends_with_the_engines_error_and_the_next_is_answered(
    engine: Engine, llm: tensorrt_llm.LLM
) -> None:
    llm.fail_with = RuntimeError("out of memory")
    assert ask(engine).wait().error == "engine: out of memory"
    llm.fail_with = None
    assert ask(engine).wait().finish is Finish.LENGTH


def test_a_timeout_of_the_engine_is_an_error(adapter: ModuleType) -> None:
    assert adapter._delta(tensorrt_llm.CompletionOutput(finish_reason="timeout"), 0).error == "engine: timed out"


def test_closing_shuts_the_engine_down(engine: Engine, llm: tensorrt_llm.LLM, adapter: ModuleType) -> None:
    other = tensorrt_llm.LLM("model", max_batch_size=4)
    adapter.TensorRtLlm(other, (1000,), Settings()).close()
    assert other.shut
    assert not llm.shut
