"""The whole function on a tiny model, with the real Ray, OpenVINO and all."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.student.config import load_student
from tests.training.tiny import train, write_instructed, write_preferences
from training import checkpoint, launch, lesson, preferring, prune
from training.causal import Causal
from training.config import resolve
from training.contract import Amount, Job, Progress, Report
from training.proof import spent
from training.weights import Weights

pytestmark = [pytest.mark.contract, pytest.mark.timeout(900)]
Write = Callable[..., Path]


@pytest.fixture
def write_job(tiny_base: Path, dataset: Path, tmp_path: Path) -> Write:
    """Writes a job whose config has the given keys changed; its file's path comes back."""

    def write(**changed: Any) -> Path:
        config = {
            "base_model": str(tiny_base),
            "batch_size": 8,
            "learning_rate": 1e-2,
            "precision": "fp32",
            "threads": 1,
            "worker_failures": 0,
        }
        job = Job(
            task="addresses",
            dataset=dataset,
            output=tmp_path / "out",
            config={**config, "timed_answers": 3, **changed},
            answer_kind="json",
            validators=[{"kind": "grounded"}],
            student_input_usd_per_million="0.02",
            student_output_usd_per_million="0.08",
            max_tokens=24,
            error_ceiling=0.11,
        )
        path = tmp_path / "job.json"
        path.write_text(job.model_dump_json(by_alias=True))
        return path

    return write


def do(job: Path) -> None:
    """In this process, which has read its libraries already."""
    launch.launch(Job.model_validate_json(job.read_text()), ray_address="")


def run(job: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training.launch", str(job)], capture_output=True, text=True, check=False
    )


@contextmanager
def launched(job: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A launcher at work, told to stop if the test fails; the test's own time limit is the only one."""
    process = subprocess.Popen([sys.executable, "-m", "training.launch", str(job)], **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    return result.stderr.strip().splitlines()[-1]


def test_a_job_leaves_a_model_that_serves_and_a_report_and_is_done_once(write_job: Write, tmp_path: Path) -> None:
    dpo = {"epochs": 3, "learning_rate": 3e-3}
    job, output = preferring_job(write_job(dpo=dpo), tmp_path), tmp_path / "out"
    first = run(job)
    assert first.returncode == 0, first.stderr[-3000:]
    report = Report.model_validate_json((output / "report.json").read_text())
    assert_preferences_were_learnt_and_exported(report, output)
    assert (report.train, report.eval, report.golden) == (48, 16, 16)
    assert report.teacher.teacher_share == 1.0
    assert 0 < report.student.p50_ms <= report.student.p99_ms
    assert_costs_times_and_confidence_are_measured(report)
    assert {"model.safetensors", "config.json", "tokenizer.json", "training.yaml"} <= names(output / "model")
    served = {"openvino_model.xml", "openvino_model.bin", "tokenizer.json", "config.json", "student.json"}
    assert served <= names(output / "triton")
    student = json.loads((output / "triton" / "student.json").read_text())
    assert (student["engine"], student["max_tokens"], student["eos_token_ids"]) == ("openvino", 24, [1])
    assert "<svg" in (output / "report.html").read_text()
    lines = [Progress.model_validate_json(line) for line in (output / "train.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(line.stage for line in lines)) == [
        "train",
        "merge",
        "export",
        "evaluate",
        "report",
        "done",
    ]

    do(job)
    assert len((output / "train.jsonl").read_text().splitlines()) == len(lines)


def assert_preferences_were_learnt_and_exported(report: Report, output: Path) -> None:
    assert report.preferences is not None
    assert (report.preferences.pairs, report.preferences.held_out) == (40, 10)
    assert report.preferences.margin_gain is not None
    assert report.preferences.margin_gain.difference > 0
    saved = checkpoint.load(output)
    assert saved is not None
    assert is_exported(preferring.learnt(output), output)
    assert not is_exported(saved[1]["weights"], output)


def is_exported(learnt: Weights, output: Path) -> bool:
    config = resolve(json.loads((output / "job.json").read_text())["config"])
    made = Causal(config).finished(learnt).state_dict()
    exported = load_file(output / "model" / "model.safetensors")
    return all(torch.allclose(weight, made[name], atol=1e-5) for name, weight in exported.items())


def preferring_job(path: Path, folder: Path) -> Path:
    """The job's file, with a dataset that has pairs to learn from, too."""
    (folder / "preferring").mkdir()
    dataset = write_preferences(Job.model_validate_json(path.read_text()).dataset, folder / "preferring")
    return on_dataset(path, dataset)


def assert_costs_times_and_confidence_are_measured(report: Report) -> None:
    teacher, student = report.teacher, report.student
    assert teacher.cost is not None
    assert teacher.cost.value == pytest.approx(teacher.usd_per_million)
    assert teacher.saved == Amount(value=0, low=0, high=0)
    assert student.saved is not None
    assert student.saved.value == pytest.approx(teacher.usd_per_million - student.usd_per_million)
    assert student.mean_ms is not None
    assert student.mean_ms.low is not None
    assert report.calibration is not None
    assert sum(one.n for one in report.calibration.bins) == report.golden
    assert report.manifest is not None


def test_several_candidates_are_fitted_one_is_chosen_and_all_are_shown(
    write_job: Write, tiny_base: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    tagger = {"kind": "tagger", "engine": "encoder", "base_model": str(tiny_encoder), "epochs": 20}
    named = {
        "labels": {**tagger, "kind": "classifier"},
        "tagger": {**tagger, "learning_rate": 3e-3},
        "causal": {"base_model": str(tiny_base), "engine": "tensorrt_llm"},
    }
    for name, settings in named.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(settings))  # JSON is YAML
    result = run(write_several(write_job, tmp_path, list(named)))
    assert result.returncode == 0, result.stderr[-3000:]
    output = tmp_path / "out"
    report = Report.model_validate_json((output / "report.json").read_text())
    assert [(one.name, one.kind) for one in report.candidates] == [("tagger", "tagger"), ("causal", "causal")]
    assert "kind json" in report.passed_over["labels"]
    assert report.chosen == report.why.split(",")[0] == "tagger"  # the other writes gibberish
    assert report.student == report.candidates[0].student
    assert report.student.error < 0.5
    assert set(report.seconds) == {"train", "merge", "export", "evaluate"}
    served = json.loads((output / "triton" / "student.json").read_text())
    assert served["engine"] == "encoder"
    assert "tagger (chosen)" in (output / "report.html").read_text()
    assert Report.model_validate_json((output / "candidates" / "causal" / "report.json").read_text()).kind == "causal"
    assert "(chosen)" not in (output / "candidates" / "causal" / "report.html").read_text()


def test_a_student_on_pruned_prompts_carries_its_rule_and_the_golden_set_lets_it_pass(
    write_job: Write, tmp_path: Path
) -> None:
    """One golden prompt and one to learn from are of another make, which the student refuses."""
    output = tmp_path / "out"
    result = run(instructed(write_job(prune=True, prune_margin=0.9, general_texts=4), tmp_path))
    assert result.returncode == 0, result.stderr[-3000:]
    report = Report.model_validate_json((output / "report.json").read_text())
    assert [one.name for one in report.candidates] == ["pruned", "whole"]
    assert report.chosen == "pruned"  # of two that write gibberish it is the cheaper one
    assert "within the margin of 90" in report.why
    assert report.pruning is not None
    assert report.pruning.used
    assert report.pruning.cost is not None
    assert report.pruning.golden_refused == 1
    assert 3 * report.pruning.tokens_after < report.pruning.tokens_before
    assert report.student.prompt_tokens == pytest.approx(report.pruning.tokens_after * 15 / 16)
    assert report.left_out == {lesson.REFUSED: 1}
    assert not list(output.rglob("*.parquet"))  # no copy of what customers wrote
    assert "What it does not read" in (output / "report.html").read_text()
    served = load_student(output / "triton").pruning
    assert served == prune.proposal(Job.model_validate_json((tmp_path / "job.json").read_text())).rule
    assert load_student(output / "candidates" / "whole" / "triton").pruning is None
    held = [Report.model_validate_json(path.read_text()).proof for path in output.glob("candidates/*/report.json")]
    assert [proof and proof.level for proof in held] == [pytest.approx(1 - spent(1) / 2)] * 2


def instructed(path: Path, folder: Path) -> Path:
    """The job's file, with a dataset whose prompts nearly all have the same instructions."""
    (folder / "instructed").mkdir()
    return on_dataset(path, write_instructed(folder / "instructed"))


def on_dataset(path: Path, dataset: Path) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": str(dataset)}))
    return path


def write_several(write_job: Write, folder: Path, names: list[str]) -> Path:
    path = write_job()
    job = json.loads(path.read_text())
    over = {
        key: job["config"][key] for key in ("batch_size", "precision", "threads", "timed_answers", "worker_failures")
    }
    job["config"] = {"candidates": [str(folder / f"{name}.yaml") for name in names], **over}
    path.write_text(json.dumps(job))
    return path


def test_a_kind_that_cannot_do_the_task_says_why(write_job: Write, tiny_encoder: Path) -> None:
    with pytest.raises(ValueError, match="a classifier can't do this task: it names a label"):
        do(write_job(kind="classifier", engine="encoder", base_model=str(tiny_encoder)))


@pytest.mark.drill
def test_a_killed_worker_is_replaced_and_nothing_of_the_run_is_lost(write_job: Write, tmp_path: Path) -> None:
    """Two workers with parts of the weights learn what one learns; both get the best ones back."""
    changed = {"workers": 2, "sharding": "fsdp", "epochs": 30, "patience": 100, "checkpoint_every_s": 0.5}
    changed |= {"worker_failures": 3, "learning_rate": 1e-3}  # faster, two workers' rounding grows into other students
    job = Job.model_validate_json(write_job(engine="tensorrt_llm", **changed).read_text())
    with launched(tmp_path / "job.json") as process:
        await_checkpoint(job.output, process)
        os.kill(worker(job.output, rank=1), signal.SIGKILL)
        assert process.wait() == 0
    assert len(workers(job.output, rank=1)) >= 2  # another may crash in gloo when its peer is gone
    assert curve(job.output) == pytest.approx(undisturbed(job, tmp_path / "alone"), rel=1e-2)
    report = Report.model_validate_json((job.output / "report.json").read_text())
    assert "are kept" in report.stopping


def test_a_worker_that_dies_alone_leaves_the_very_same_student(write_job: Write, tmp_path: Path) -> None:
    job = Job.model_validate_json(
        write_job(
            engine="tensorrt_llm", epochs=60, checkpoint_every_s=0.2, lora={"dropout": 0.1}, worker_failures=1
        ).read_text()
    )
    with launched(tmp_path / "job.json") as process:
        await_checkpoint(job.output, process)
        os.kill(worker(job.output, rank=0), signal.SIGKILL)
        assert process.wait() == 0
    assert len(workers(job.output, rank=0)) == 2
    assert curve(job.output) == undisturbed(job, tmp_path / "alone")


def test_a_search_chooses_the_runs_settings_and_tells_whether_more_data_would_help(
    write_job: Write, tmp_path: Path
) -> None:
    space = {"learning_rate": ["1e-4", "1e-2"], "lora": {"rank": [2, 4]}, "epochs": [1, 2], "train_share": [0.5, 1.0]}
    search = {"space": space, "trials": 3, "data_shares": [0.25, 0.5]}
    result = run(write_job(engine="tensorrt_llm", evaluations=2, search=search, general_texts=4))
    assert result.returncode == 0, result.stderr[-3000:]
    report = Report.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert report.search is not None
    assert len(report.search.trials) == 3
    losses = [trial.eval_loss for trial in report.search.trials if trial.eval_loss is not None]
    best = next(trial for trial in report.search.trials if trial.eval_loss == min(losses))
    assert report.search.chosen == {name: best.settings[name] for name in ("learning_rate", "lora.rank", "epochs")}
    trained = json.loads((tmp_path / "out" / "model" / "training.yaml").read_text())
    assert trained["lora"]["rank"] == report.search.chosen["lora.rank"]
    assert trained["train_share"] == 1
    assert report.search.growth is not None
    assert [point.examples for point in report.search.growth.points] == [12, 24, 48]
    assert "Twice the data" in report.search.growth.answer
    assert report.forgetting is not None
    assert report.forgetting.texts == 4


@pytest.mark.parametrize("worker_failures", [0, pytest.param(1, marks=pytest.mark.drill)])
def test_a_terminated_launcher_leaves_no_process_behind(write_job: Write, tmp_path: Path, worker_failures: int) -> None:
    job = write_job(epochs=2000, checkpoint_every_s=0, engine="tensorrt_llm", worker_failures=worker_failures)
    with launched(job, start_new_session=True) as process:
        await_checkpoint(tmp_path / "out", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() != 0
    assert await_end_of_session(process.pid)


def test_a_model_that_is_not_there_is_named(write_job: Write) -> None:
    with pytest.raises(ValueError, match="no-such-model"):
        do(write_job(base_model="package:no-such-model"))


def test_an_unknown_key_ends_the_job_before_it_starts_and_the_last_line_says_so(
    write_job: Write, tmp_path: Path
) -> None:
    result = run(write_job(learning_rat=1))
    assert result.returncode != 0
    assert "learning_rat" in last_line(result)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_an_output_directory_belongs_to_one_job(write_job: Write, tmp_path: Path) -> None:
    other = Job.model_validate_json(write_job(seed=1).read_text())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "job.json").write_text(other.model_dump_json(by_alias=True))
    with pytest.raises(ValueError, match="another job"):
        do(write_job(seed=2))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def workers(output: Path, rank: int) -> list[int]:
    """The processes that were the worker of that rank, one after the other."""
    return [int(pid) for pid in re.findall(rf"worker {rank} is process (\d+)", (output / "train.jsonl").read_text())]


def worker(output: Path, rank: int) -> int:
    return workers(output, rank)[-1]


def undisturbed(job: Job, output: Path) -> list[float]:
    """The curve of the same run in this process, alone."""
    train(resolve({**job.config, "workers": 1}), job.dataset, output)
    return curve(output)


def curve(output: Path) -> list[float]:
    saved = checkpoint.load(output)
    assert saved is not None
    return [loss for _, loss, _, _ in saved[0].curve]


def await_checkpoint(output: Path, process: subprocess.Popen[bytes]) -> None:
    while not (output / "checkpoints" / "last.pt").is_file():
        assert process.poll() is None
        time.sleep(0.2)


def await_end_of_session(session: int) -> bool:
    """Whether all processes of the session are gone within a minute."""
    for _ in range(120):
        if not any(session_of(int(path.name)) == session for path in Path("/proc").iterdir() if path.name.isdigit()):
            return True
        time.sleep(0.5)
    return False


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
