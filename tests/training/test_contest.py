"""Several candidates for one job, with fitting itself left out: what is fitted, chosen, placed and shown."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.services.controller.world import a_report, a_score
from tests.training.tiny import write_instructed
from training import contest
from training.config import candidates, resolve
from training.contract import Job, Progress, Pruning, Report

RIGHT = {"confidence": -0.1, "refused": False, "differs": False, "corrected": True, "teacher_differs": False}
UNSURE = {**RIGHT, "confidence": -9.0, "differs": True}
A_PRUNING = Pruning(
    head="Take it apart: ",
    lines=[],
    tail="",
    golden_refused=0,
    tokens_before=9,
    tokens_after=5,
    usd_saved_per_million=0.08,
)


class Fitting:
    """Leaves what a fitted student leaves; the share of the eval split that each answers well is given."""

    def __init__(self, shares: Mapping[str, float], golden_wrong: Mapping[str, int] | None = None) -> None:
        self.shares, self.golden_wrong = shares, golden_wrong or {}
        self.fitted: list[str] = []
        self.jobs: dict[str, Job] = {}

    def __call__(self, job: Job) -> None:
        name = job.output.name
        for folder in ("model", "triton"):
            (job.output / folder).mkdir(parents=True)
            (job.output / folder / "whose").write_text(name)
        sure = round(100 * self.shares[name])
        (job.output / "eval.json").write_text(json.dumps([RIGHT] * sure + [UNSURE] * (100 - sure)))
        wrong = self.golden_wrong.get(name, 0)
        (job.output / "golden.json").write_text(json.dumps([True] * wrong + [False] * (500 - wrong)))
        config = resolve(job.config)
        made = a_report(
            task=job.task,
            pruning=A_PRUNING if config.unread else None,
            threshold=-1.0,
            student=a_score(1 - self.shares[name], 0, 1),
            seconds={"train": 10.0, "export": 1.0},
            left_out={"not there": 3},
        )
        (job.output / "report.json").write_text(made.model_dump_json())
        self.fitted.append(name)
        self.jobs[name] = job


@pytest.fixture
def several(tiny_base: Path, tiny_encoder: Path) -> dict[str, dict[str, Any]]:
    encoder = {"engine": "encoder", "base_model": str(tiny_encoder)}
    return {
        "labels": {"kind": "classifier", **encoder},
        "tagger": {"kind": "tagger", **encoder},
        "causal": {"base_model": str(tiny_base)},
        "absent": {"base_model": "package:no-such-model"},
    }


@pytest.fixture
def job(dataset: Path, tmp_path: Path) -> Job:
    return Job(
        task="addresses",
        dataset=dataset,
        output=tmp_path,
        answer_kind="json",
        student_input_usd_per_million="0.02",
        student_output_usd_per_million="0.08",
        max_tokens=24,
        error_ceiling=0.11,
    )


def test_those_that_can_do_the_task_are_fitted_in_their_order_and_the_others_are_named(
    job: Job, several: dict[str, dict[str, Any]]
) -> None:
    fitting = Fitting({"tagger": 0.9, "causal": 0.8})
    contest.run(job, several, fitting)
    assert fitting.fitted == ["tagger", "causal"]
    report = read(job)
    assert set(report.passed_over) == {"labels", "absent"}
    assert "kind json" in report.passed_over["labels"]
    assert "not installed" in report.passed_over["absent"]


@pytest.mark.parametrize(("tagger", "causal", "chosen"), [(0.9, 0.8, "tagger"), (0.7, 0.9, "causal")])
def test_the_chosen_ones_files_and_figures_stand_in_the_jobs_output(
    job: Job, several: dict[str, dict[str, Any]], tagger: float, causal: float, chosen: str
) -> None:
    contest.run(job, several, Fitting({"tagger": tagger, "causal": causal}))
    report = read(job)
    assert report.chosen == chosen
    assert report.why.startswith(chosen)
    assert [one.on_eval.kept for one in report.candidates] == pytest.approx([tagger, causal])
    assert [one.left_out for one in report.candidates] == [{"not there": 3}] * 2
    assert report.student.error == pytest.approx(1 - max(tagger, causal))
    assert report.seconds == {"train": 20.0, "export": 2.0}
    assert [(job.output / folder / "whose").read_text() for folder in ("model", "triton")] == [chosen] * 2
    lines = [Progress.model_validate_json(line) for line in (job.output / "train.jsonl").read_text().splitlines()]
    assert [line.message for line in lines[:2]] == ["tagger, 1 of 2", "causal, 2 of 2"]
    assert lines[-1].stage == "done"


def test_a_contest_that_was_cut_off_ends_as_it_would_have(job: Job, several: dict[str, dict[str, Any]]) -> None:
    fitting = Fitting({"tagger": 0.9, "causal": 0.8})
    contest.run(job, several, fitting)
    first = read(job)
    (job.output / "report.json").unlink()
    contest.run(job, several, lambda _: None)  # each is found done
    assert read(job) == first


def test_a_job_that_no_candidate_can_do_fails_with_every_reason(job: Job, several: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"labels: it names a label.*absent: .*not installed"):
        contest.run(job, {name: several[name] for name in ("labels", "absent")}, Fitting({}))


@pytest.mark.parametrize("key", [{"dpo": {"beta": 0.1}}, {"pack_tokens": 64}])
def test_one_that_a_key_laid_over_all_does_not_fit_is_passed_over_and_the_others_are_fitted(
    job: Job, several: dict[str, dict[str, Any]], key: dict[str, Any]
) -> None:
    fitting = Fitting({"causal": 0.8})
    contest.run(job, {name: settings | key for name, settings in several.items()}, fitting)
    report = read(job)
    assert fitting.fitted == [report.chosen] == ["causal"]
    assert set(report.passed_over) == {"labels", "tagger", "absent"}
    assert "dpo and pack_tokens are for students that write, not for a tagger" in report.passed_over["tagger"]


def test_a_key_that_no_candidate_knows_fails_the_job_with_every_reason(
    job: Job, several: dict[str, dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match=r"labels: learning_rat: .*causal: lora\.ranks: "):
        contest.run(
            job,
            {"labels": {**several["labels"], "learning_rat": 1}, "causal": {**several["causal"], "lora": {"ranks": 4}}},
            Fitting({}),
        )


@pytest.mark.parametrize(("wrong", "chosen"), [(52, "pruned"), (75, "whole")])
def test_the_golden_set_accepts_or_refuses_a_student_on_pruned_prompts(pruning: Job, wrong: int, chosen: str) -> None:
    fitting = Fitting({"pruned": 0.9, "whole": 0.9}, {"pruned": wrong, "whole": 50})
    contest.run(pruning, candidates(pruning.config), fitting)
    report = read(pruning)
    assert fitting.fitted == ["pruned", "whole"]
    assert report.chosen == (pruning.output / "triton" / "whose").read_text() == chosen
    assert report.pruning is not None
    assert report.pruning.used == (chosen == "pruned")
    assert report.pruning.cost is not None
    assert report.pruning.cost.difference == pytest.approx((wrong - 50) / 500)
    assert f"cost {(wrong - 50) / 5:+.1f} points" in report.why


def test_twins_between_whom_the_golden_set_decides_share_what_a_look_at_it_may_spend(pruning: Job) -> None:
    fitting = Fitting({"pruned": 0.9, "whole": 0.9})
    contest.run(pruning, candidates(pruning.config), fitting)
    assert {name: job.among for name, job in fitting.jobs.items()} == {"pruned": 2, "whole": 2}


def test_a_contest_that_was_killed_between_twins_goes_on_with_the_rule_that_it_had(
    pruning: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = Fitting({"pruned": 0.9})
    with pytest.raises(KeyError, match="whole"):  # as if it were killed there
        contest.run(pruning, candidates(pruning.config), fitting)
    first = fitting.jobs["pruned"]
    assert not list((pruning.output / "candidates").rglob("*.parquet"))  # no copy of what customers wrote
    monkeypatch.setattr("services.pruning.NEARLY_ALL", 1.0)  # by which another rule would be found
    again = Fitting({"pruned": 0.9, "whole": 0.9})
    shutil.rmtree(pruning.output / "candidates")
    contest.run(pruning, candidates(pruning.config), again)
    assert again.jobs["pruned"] == first


def test_where_prompts_have_nothing_in_common_the_whole_ones_alone_are_learnt(pruning: Job, dataset: Path) -> None:
    plain = pruning.model_copy(update={"dataset": dataset})
    fitting = Fitting({"whole": 0.9})
    contest.run(plain, candidates(plain.config), fitting)
    report = read(plain)
    assert fitting.fitted == [report.chosen] == ["whole"]
    assert "too little in common" in report.passed_over["pruned"]
    assert (report.pruning, fitting.jobs["whole"].among) == (None, 1)


def test_a_student_that_can_read_pruned_prompts_only_is_judged_alone(pruning: Job, tiny_encoder: Path) -> None:
    config = {"kind": "tagger", "engine": "encoder", "base_model": str(tiny_encoder), "longest": 12, "prune": True}
    alone = pruning.model_copy(update={"config": config})
    contest.run(alone, candidates(config), Fitting({"pruned": 0.9}))
    report = read(alone)
    assert report.chosen == "pruned"
    assert "longer than 12 tokens" in report.passed_over["whole"]
    assert report.pruning == A_PRUNING


@pytest.fixture
def pruning(job: Job, tiny_base: Path, tmp_path: Path) -> Job:
    """A job on prompts that all have the same instructions."""
    dataset = tmp_path / "instructed"
    dataset.mkdir()
    config = {"base_model": str(tiny_base), "prune": True}
    return job.model_copy(update={"dataset": write_instructed(dataset), "config": config})


def read(job: Job) -> Report:
    return Report.model_validate_json((job.output / "report.json").read_text())
