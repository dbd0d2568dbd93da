"""The student of benchmarks.student_quality: the project's own recipe with its default config, and nothing changed."""

import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from benchmarks.quality_task import Answers, Splits, Task, write
from training import answers, kinds
from training.config import resolve
from training.contract import Job, Report
from training.data import Row, rows

DEFAULTS: Final = ("minilm-classifier-cpu", "minilm-tagger-cpu", "smollm2-135m-cpu")
"""The config of each kind of student."""
FREE: Final = Decimal(0)


def student(task: Task, minutes: float | None, splits: Splits, seed: int, directory: Path) -> Answers:
    """Trained, exported and measured by `training.launch`; its answers to the golden examples."""
    job = _job(task, write(splits, directory / "dataset"), directory / "run", seed, minutes)
    path = directory / "job.json"
    path.write_text(job.model_dump_json(by_alias=True))
    with (directory / "training.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "training.launch", path], stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{task.name}: {(directory / 'training.log').read_text()[-3000:]}")
    engine = answers.engine(resolve(job.config).engine, job.output, task.max_tokens)
    return [answer.text for answer in engine.answers([one.prompt for one in splits.golden], lambda _: None)]


def _job(task: Task, dataset: Path, output: Path, seed: int, minutes: float | None) -> Job:
    limit = {} if minutes is None else {"max_minutes": minutes}
    return Job(
        task=f"quality-{task.name}",
        dataset=dataset,
        output=output,
        config={"from": task.config, "seed": seed, **limit},
        answer_kind=task.answer_kind,
        student_input_usd_per_million=FREE,
        student_output_usd_per_million=FREE,
        max_tokens=task.max_tokens,
        error_ceiling=0.5,  # of a verdict that nobody asks for
    )


def told(directory: Path) -> dict[str, Any]:
    """What its report says beside its answers."""
    report = Report.model_validate_json((directory / "run" / "report.json").read_bytes())
    seconds = {stage: round(spent, 1) for stage, spent in report.seconds.items()}
    p50_ms = round(report.student.p50_ms, 1)
    return {"learnt_from": report.train, "left_out": report.left_out, "p50_ms": p50_ms, "seconds": seconds}


def unsuited(task: Task, dataset: Path) -> dict[str, str]:
    """Why the other kinds of student cannot do the task, as they say themselves."""
    table: Sequence[Row] = rows(dataset, "train")
    found = {name: kinds.kind(resolve({"from": name}), table).objection(task.answer_kind, table) for name in DEFAULTS}
    return {name: why for name, why in found.items() if why}
