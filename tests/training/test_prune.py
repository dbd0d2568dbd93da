from pathlib import Path
from typing import Any

import pytest

from services.pruning import Rule
from tests.training.tiny import instructed, write_instructed
from training import data, lesson, prune
from training.config import Config, candidates
from training.contract import Job

RULE = Rule(head="system: Take the address apart, word by word.\nuser: ", tail="\nassistant:\n")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    dataset, output = tmp_path / "dataset", tmp_path / "out"
    dataset.mkdir()
    output.mkdir()
    return Job(
        task="addresses",
        dataset=write_instructed(dataset),
        output=output,
        answer_kind="json",
        student_input_usd_per_million="2",
        student_output_usd_per_million="0",
        max_tokens=24,
        error_ceiling=0.1,
    )


def tried(job: Job, settings: dict[str, Any]) -> prune.Tried:
    return prune.tried(job, candidates(settings))


def test_a_student_to_be_pruned_is_tried_without_what_all_prompts_have_in_common_and_with_it(job: Job) -> None:
    found = tried(job, {"base_model": "tiny", "prune": True, "epochs": 2})
    assert list(found.several) == ["pruned", "whole"]
    assert found.several["pruned"]["unread"] == RULE.model_dump(mode="json")
    assert found.several["whole"]["unread"] is None
    assert [settings["epochs"] for settings in found.several.values()] == [2, 2]
    assert (found.twins, found.passed_over) == ({"pruned": "whole"}, {})
    assert not any(candidates(settings) for settings in found.several.values())  # neither is fitted twice again


def test_each_of_several_students_has_a_twin_of_its_own(job: Job) -> None:
    several = {"candidates": [{"name": "small", "base_model": "a"}, {"name": "large", "base_model": "b"}]}
    found = tried(job, {**several, "prune": True})
    assert list(found.several) == ["small-pruned", "small", "large-pruned", "large"]
    assert found.twins == {"small-pruned": "small", "large-pruned": "large"}


def test_a_rule_of_ones_own_is_tried_in_place_of_the_one_that_was_found(job: Job) -> None:
    own = {"head": "system: Take the address apart, ", "lines": [], "tail": ""}
    found = tried(job, {"base_model": "tiny", "prune": True, "unread": own})
    assert found.several["pruned"]["unread"] == own
    assert not (job.output / prune.PROPOSED).exists()


def test_where_prompts_have_nothing_in_common_the_student_reads_all_and_it_is_said_why(job: Job, dataset: Path) -> None:
    found = tried(job.model_copy(update={"dataset": dataset}), {"base_model": "tiny", "prune": True})
    assert list(found.several) == ["whole"]
    assert found.passed_over == {"pruned": "the prompts have too little in common that could be left out"}


def test_what_the_golden_prompts_lack_is_not_left_out_for_nothing_would_be_proven(job: Job, tmp_path: Path) -> None:
    dataset = tmp_path / "other"
    dataset.mkdir()
    write_instructed(dataset, golden_whole=10)
    found = tried(job.model_copy(update={"dataset": dataset}), {"base_model": "tiny", "prune": True})
    assert "only 6 of 16 golden prompts have" in found.passed_over["pruned"]


def test_a_run_that_goes_on_has_the_rule_that_it_had(job: Job, dataset: Path) -> None:
    first = prune.proposal(job)
    assert first.rule == RULE
    assert prune.proposal(job.model_copy(update={"dataset": dataset})) == first


def test_rows_come_as_the_student_reads_them_and_those_that_it_refuses_come_empty(job: Job) -> None:
    whole, read = (data.rows(job.dataset, "golden", unread) for unread in (None, RULE))
    assert [row["prompt"] for row in whole[:2]] == [instructed(whole[0])["prompt"], "2001 Elm Ave\n"]
    assert [row["prompt"] for row in read[:3]] == ["2000 Oak St\n", "", "2002 Main St\n"]
    assert [{**row, "prompt": ""} for row in whole] == [{**row, "prompt": ""} for row in read]


def test_nothing_is_learnt_from_prompts_that_it_refuses_and_they_are_counted(job: Job, config: Config) -> None:
    made = lesson.imitation(config.model_copy(update={"unread": RULE}), job.dataset)
    assert len(made.examples) == 99
    assert len(made.held_out) == 16
    assert made.left_out == {lesson.REFUSED: 1}


def test_the_report_says_what_is_left_out_and_what_that_saves(job: Job, config: Config) -> None:
    assert prune.told(job, config) is None
    told = prune.told(job, config.model_copy(update={"unread": RULE}))
    assert told is not None
    assert (told.head, told.tail, told.golden_refused) == (RULE.head, RULE.tail, 1)
    assert 0 < told.tokens_after < 15 < told.tokens_before
    assert told.usd_saved_per_million == pytest.approx(2 * (told.tokens_before - told.tokens_after))


def test_no_copy_of_what_customers_wrote_is_made(job: Job) -> None:
    tried(job, {"base_model": "tiny", "prune": True})
    assert [file.name for file in job.output.iterdir()] == [prune.PROPOSED]
