"""A run that can't have learnt anything is seen to have learnt nothing, and one that could is promoted; leaks prove
nothing.

Real runs, of a tiny encoder that names labels: learnt, exported, measured, judged.
"""

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.controller.verdict import Verdict, judge
from tests.services.controller.world import a_report, a_task
from tests.training.tiny import example, golden_example, write_rows
from training import evaluate
from training.config import Config
from training.contract import Job, Report

pytestmark = pytest.mark.contract
LABELS = {"house": "thing", "river": "water", "mile": "way"}
GOLDEN = 150


def row(index: int) -> dict[str, Any]:
    """A question of words that the tiny vocabulary has; one of them says which label is right."""
    told = list(LABELS)[index % 3]
    drawn = random.Random(index)
    fillers = drawn.sample(["in", "the", "city", "by", "and", "on", "of", "street"], 4)
    question = f"{' '.join(fillers)} {told} {drawn.randrange(10_000)}"  # golden ones are drawn as the others are
    answer = LABELS[told]
    return {
        **example(index),
        "question": question,
        "prompt": f"{question}\n",
        "completion": answer,
        "teacher_answer": answer,
    }


def golden_row(index: int) -> dict[str, Any]:
    """The teacher is wrong about two in seven."""
    made = row(index)
    kept = {key: made[key] for key in ("question", "prompt")}
    said = made["completion"] if index % 7 > 1 else "nothing"
    return {**golden_example(index), **kept, "truth": made["completion"], "teacher_answer": said}


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    report: Report
    verdict: Verdict


def ran(directory: Path, tiny_encoder: Path, leaked: int = 0, **changes: Any) -> Ran:
    """`leaked` golden examples are learnt from, too."""
    dataset, output = directory / "dataset", directory / "output"
    dataset.mkdir()
    golden = [golden_row(5000 + index) for index in range(GOLDEN)]
    learnt = [row(index) for index in range(600)] + [row(5000 + index) for index in range(leaked)]
    write_rows(dataset, {"train": learnt, "eval": [row(3000 + index) for index in range(60)], "golden": golden})
    config = Config(
        kind="classifier",
        engine="encoder",
        base_model=str(tiny_encoder),
        batch_size=16,
        epochs=20,
        learning_rate=3e-3,
        precision="fp32",
        threads=1,
        evaluations=0,
        timed_answers=3,
        **changes,
    )
    settings = directory / "config.json"
    settings.write_text(config.model_dump_json())
    script = [sys.executable, "-m", "tests.training.serve_one", str(settings), str(dataset), str(output)]
    made = subprocess.run(script, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    job = Job(
        task="labels",
        dataset=dataset,
        output=output,
        answer_kind="label",
        student_input_usd_per_million="0.02",
        student_output_usd_per_million="0.08",
        max_tokens=24,
        error_ceiling=0.09,
    )
    report = a_report(**vars(evaluate.evaluate(job, config)))
    return Ran(report, judge(report, a_task()))


def test_a_student_that_learnt_is_promoted_by_a_sentence_with_its_figures(tmp_path: Path, tiny_encoder: Path) -> None:
    honest = ran(tmp_path, tiny_encoder)
    assert honest.verdict.promote, honest.verdict.reason
    assert "under ceiling 9 % and not above teacher" in honest.verdict.reason
    assert "by 96.96 % intervals, as this is look 1 at the golden set: promote" in honest.verdict.reason


def test_a_student_of_shuffled_answers_scores_at_chance_and_is_not_promoted(tmp_path: Path, tiny_encoder: Path) -> None:
    shuffled = ran(tmp_path, tiny_encoder, shuffled_answers=True)
    accuracy = next(metric for metric in shuffled.report.metrics if metric.name == "accuracy").student
    assert accuracy.low <= 0.42  # one in three, and what a random student may lean to
    assert accuracy.high < 0.6
    assert not shuffled.verdict.promote
    assert "above the ceiling" in shuffled.verdict.reason


def test_examples_that_leaked_have_no_say(tmp_path: Path, tiny_encoder: Path) -> None:
    """A student of shuffled answers, which has seen most of the golden set: nothing of that is proof."""
    leaked = ran(tmp_path, tiny_encoder, leaked=GOLDEN - 20)
    assert leaked.report.leaks.questions == GOLDEN - 20
    assert leaked.report.golden == 20
    assert not leaked.verdict.promote
    assert "20 golden examples prove nothing" in leaked.verdict.reason
    assert "130 golden examples that were learnt from, too, had no say" in leaked.verdict.reason
