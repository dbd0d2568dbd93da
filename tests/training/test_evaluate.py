"""What is made of a student's answers; the engine that gives them is left out."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.services.controller.world import a_report
from tests.training.tiny import write_rows
from training import answers, data, evaluate, report
from training.answers import Answer, Done
from training.config import Config
from training.contract import Job, Report


class Knowing:
    """An engine that answers each prompt of the dataset with the label to learn, in one token."""

    def __init__(self, dataset: Path, cut: bool = False) -> None:
        rows = [(row["prompt"], row["completion"]) for row in data.rows(dataset, "eval")]
        rows += [(row["prompt"], row["truth"]) for row in data.rows(dataset, "golden")]
        self._said = {prompt: Answer(text, -0.01, 5, 1, cut) for prompt, text in rows}

    def answers(self, prompts: Sequence[str], done: Done) -> list[Answer]:
        done(len(prompts))
        return [self._said[prompt] for prompt in prompts]


@pytest.fixture
def job(labelled: Path, tmp_path: Path) -> Job:
    return Job(
        task="labels",
        dataset=labelled,
        output=tmp_path,
        answer_kind="label",
        student_input_usd_per_million="0.02",
        student_output_usd_per_million="0.08",
        max_tokens=1,
        error_ceiling=0.1,
    )


def measured(job: Job, config: Config, engine: Knowing, monkeypatch: pytest.MonkeyPatch) -> evaluate.Measured:
    monkeypatch.setattr(answers, "engine", lambda *_: engine)
    return evaluate.evaluate(job, config)


def test_an_answer_that_ends_of_itself_with_the_last_token_it_may_have_is_kept(
    job: Job, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(job, config, Knowing(job.dataset), monkeypatch)
    assert found.cascade.teacher_share == 0


def test_an_answer_that_was_cut_at_the_limit_is_left_to_the_teacher(
    job: Job, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(job, config, Knowing(job.dataset, cut=True), monkeypatch)
    assert found.cascade.teacher_share == 1


def test_one_golden_example_is_measured_timed_and_reported(
    job: Job, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {split: data.rows(job.dataset, split) for split in ("train", "eval", "golden")}
    one = job.model_copy(update={"dataset": write_rows(tmp_path, {**rows, "golden": rows["golden"][:1]})})
    found = measured(one, config, Knowing(one.dataset), monkeypatch)
    assert (found.golden, found.student.error) == (1, 0)
    assert found.student.p50_ms > 0
    report.write(a_report(**vars(found)), tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()).student == found.student
