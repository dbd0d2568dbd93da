from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import example, golden_example, write_rows
from training import base, data, prune
from training.contract import Job

INSTRUCTIONS = "system: Take the address apart, word by word.\nuser: "


def instructed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"prompt": f"{INSTRUCTIONS}{row['question']}\nassistant:\n"}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    dataset, output = tmp_path / "dataset", tmp_path / "out"
    dataset.mkdir()
    output.mkdir()
    parts = {
        "train": [instructed(example(index)) for index in range(100, 160)],
        "eval": [instructed(example(1000))],
        "golden": [instructed(golden_example(2000)), golden_example(2001)],
    }
    return Job(
        task="addresses",
        dataset=write_rows(dataset, parts),
        output=output,
        answer_kind="json",
        student_input_usd_per_million="2",
        student_output_usd_per_million="0",
        max_tokens=24,
        error_ceiling=0.1,
    )


def prompts(job: Job, split: str) -> list[str]:
    return [row["prompt"] for row in data.rows(job.dataset, split)]


def test_the_job_goes_on_without_what_all_prompts_have_in_common(job: Job) -> None:
    pruned = prune.job(job)
    assert prompts(pruned, "train")[:2] == ["100 Oak St\n", "101 Elm Ave\n"]
    assert prompts(pruned, "golden") == ["2000 Oak St\n", "2001 Elm Ave\n"]  # the second lacked it, and is as it was
    assert data.rows(pruned.dataset, "train")[0]["completion"] == data.rows(job.dataset, "train")[0]["completion"]


def test_the_report_says_what_is_left_out_and_what_that_saves(job: Job, tiny_base: Path) -> None:
    pruned = prune.job(job)
    told = prune.told(pruned, job.dataset, base.tokenizer(tiny_base))
    assert told is not None
    assert (told.head, told.tail, told.golden_left_whole) == (INSTRUCTIONS, "\nassistant:\n", 1)
    assert 0 < told.tokens_after < told.tokens_before
    assert told.usd_saved_per_million == pytest.approx(2 * (told.tokens_before - told.tokens_after))


def test_only_the_rule_outlives_the_run_and_a_run_that_goes_on_makes_the_rest_anew(job: Job) -> None:
    prune.job(job)
    prune.forget(job.output)
    assert [file.name for file in (job.output / "pruned").iterdir()] == ["manifest.json", "rule.json"]
    assert prompts(prune.job(job), "train")[0] == "100 Oak St\n"


def test_where_prompts_have_nothing_in_common_the_job_stays_as_it_is(job: Job, dataset: Path) -> None:
    plain = job.model_copy(update={"dataset": dataset})
    assert prune.job(plain) == plain
    assert prune.rule(job.output) is None
