"""What is decided of doubtful answers, once for a job; and a run that learns from it, through the launcher."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from services.validators import OneOf
from tests.services.gateway.openai_like import KEY, OpenAILike, serving
from tests.training.test_sanity import LABELS, golden_row, row
from tests.training.test_second_teacher_contract import FakeSecondTeacher
from tests.training.tiny import write_rows
from training import data, decision, doubts, helped, lesson, mending, opinions, settling
from training.config import Config
from training.contract import Doubted, Job, Report

ROWS = 400
WRONG = set(random.Random(3).sample(range(ROWS), 40))
REFUSED = set(sorted(WRONG)[:3])
"""Of those, what no label is."""


def oracle(question: str) -> str:
    """The right answer."""
    return next(label for word, label in LABELS.items() if word in question.split())


def half_right(question: str) -> str:
    """What the teacher says, on every other question that it errs on."""
    errors = (noisy(place) for place in sorted(WRONG - REFUSED)[::2])
    return {row["question"]: row["completion"] for row in errors}.get(question, oracle(question))


def noisy(place: int) -> dict[str, Any]:
    made = row(place) | {"corrected": False}
    other = random.Random(place).choice([label for label in LABELS.values() if label != made["completion"]])
    return made | ({"completion": "no label" if place in REFUSED else other} if place in WRONG else {})


def whole(index: int) -> dict[str, Any]:
    return row(index) | {"corrected": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = {
        "train": [noisy(place) for place in range(ROWS)],
        "eval": [whole(3000 + index) for index in range(40)],
        "golden": [golden_row(5000 + index) for index in range(300)],
    }
    return write_rows(tmp_path_factory.mktemp("noisy"), parts)


@pytest.fixture
def job(dataset: Path, tmp_path: Path) -> Job:
    return Job(
        task="labels",
        dataset=dataset,
        output=tmp_path,
        config={},
        answer_kind="label",
        validators=[OneOf(kind="one_of", values=tuple(LABELS.values()))],
        student_input_usd_per_million="0.02",
        student_output_usd_per_million="0.08",
        max_tokens=24,
        error_ceiling=0.09,
    )


def decided(job: Job, second: FakeSecondTeacher | None = None, **settings: Any) -> Doubted:
    config = Config(base_model="none", **settings)
    mending.decide(job, config, second, job.output)
    told = decision.told(job.output, config)
    assert told is not None
    return told


def learnt(job: Job, **settings: Any) -> list[data.Row]:
    return settling.learnt(
        data.rows(job.dataset, "train"), decision.settled(job.output, Config(base_model="none", **settings))
    )


def test_wrong_answers_are_replaced_where_second_teacher_and_students_agree_and_that_helps(job: Job) -> None:
    told = decided(job, FakeSecondTeacher(oracle), doubtful="relabel")
    assert told.why[doubts.REFUSED] == len(REFUSED)
    assert told.opinions is not None
    assert told.opinions.agreed == told.kept <= 8  # right answers that the students doubt
    assert told.opinions.asked == told.kept + told.relabelled + told.left_out
    assert told.relabelled >= 24
    wrong = [one for one in learnt(job, doubtful="relabel") if one["completion"] != oracle(one["question"])]
    assert len(wrong) <= len(WRONG) / 4
    assert told.helped is not None
    assert told.helped.settled.error < told.helped.given.error
    assert told.helped.settled_minus_given.high < 0


def test_without_a_second_teacher_what_students_are_sure_of_is_learnt(job: Job) -> None:
    told = decided(job, doubtful="relabel")
    assert told.opinions is None
    assert told.kept == 0
    assert told.relabelled >= 24
    assert sum(one["completion"] != oracle(one["question"]) for one in learnt(job, doubtful="relabel")) <= 8


@pytest.mark.parametrize(("wanted", "fate"), [("leave_out", "left_out"), ("down_weight", "down_weighted")])
def test_doubtful_answers_may_be_left_out_or_weigh_less_but_for_those_that_both_teachers_give(
    job: Job, wanted: str, fate: str
) -> None:
    told = decided(job, FakeSecondTeacher(half_right), doubtful=wanted)
    assert (told.kept > 0, told.relabelled) == (True, 0)
    assert getattr(told, fate) == sum(told.why.values()) - told.kept
    rows = learnt(job, doubtful=wanted)
    assert len(rows) == ROWS - told.left_out
    assert sum(one["weight"] == settling.DOWN_WEIGHT for one in rows) == told.down_weighted


def test_a_second_teacher_that_is_away_is_told_and_all_is_as_without_one(job: Job, tmp_path: Path) -> None:
    alone = job.model_copy(update={"output": tmp_path / "alone"})
    alone.output.mkdir()
    without = decided(alone, doubtful="relabel")
    told = decided(job, FakeSecondTeacher(lambda question: None), doubtful="relabel")
    assert told.opinions is not None
    assert (told.opinions.failed, told.opinions.why) == (told.opinions.asked, "it is away")
    assert told.model_copy(update={"opinions": None}) == without
    assert learnt(job, doubtful="relabel") == learnt(alone, doubtful="relabel")


def test_candidates_share_what_was_decided_and_opinions_even_where_they_want_otherwise(job: Job) -> None:
    second = FakeSecondTeacher(oracle)
    wants = [("one", "relabel"), ("two", "relabel"), ("three", "leave_out"), ("four", "keep")]
    for name, wanted in wants:
        one = job.model_copy(update={"output": job.output / name})
        one.output.mkdir()
        mending.decide(one, Config(base_model="none", doubtful=wanted), second, job.output)
    names = [path.name for name, _ in wants for path in sorted((job.output / name).iterdir())]
    assert names == ["doubts-relabel.json", "doubts-relabel.json", "doubts-leave_out.json"]
    told = decision.told(job.output / "two", Config(base_model="none", doubtful="relabel"))
    assert told is not None
    assert told.opinions is not None
    assert len(second.asked) == told.opinions.asked
    assert len((job.output / opinions.FILE).read_text().splitlines()) == len(second.asked) + 1


def test_whether_it_helped_is_not_said_where_it_cannot_be_known(job: Job) -> None:
    table, golden = data.rows(job.dataset, "train"), data.rows(job.dataset, "golden")
    fewer = table[5:]
    texts, teachers = job.model_copy(update={"answer_kind": "text"}), job.model_copy(update={"truth": "teacher"})
    assert helped.helped(texts, golden, table, fewer) == helped.TEXTS
    assert helped.helped(teachers, golden, table, fewer) == helped.TEACHERS
    assert helped.helped(job, golden, table, table) == helped.SAME
    strange = [one | {"completion": f'{{"said": "{place} nowhere"}}'} for place, one in enumerate(table)]
    objects = job.model_copy(update={"answer_kind": "json"})
    assert helped.helped(objects, golden, strange, strange[5:]) == helped.NOT_THERE


def test_of_free_texts_a_second_teacher_is_not_asked_but_what_validators_refuse_is_left_out(job: Job) -> None:
    second = FakeSecondTeacher(oracle)
    told = decided(job.model_copy(update={"answer_kind": "text"}), second, doubtful="leave_out")
    assert (second.asked, told.opinions, told.unmeasured) == ([], None, helped.TEXTS)
    assert told.left_out >= len(REFUSED)


def test_where_nothing_would_be_left_to_learn_from_there_is_no_run(job: Job) -> None:
    strict = job.model_copy(update={"validators": [OneOf(kind="one_of", values=("nothing",))]})
    with pytest.raises(ValueError, match="nothing is left to learn from"):
        decided(strict, doubtful="leave_out")


def test_what_is_left_out_is_counted_by_its_reason_in_a_lesson(job: Job, config: Config) -> None:
    told = decided(job, doubtful="leave_out")
    settled = decision.settled(job.output, Config(base_model="none", doubtful="leave_out"))
    every, some = (lesson.imitation(config, job.dataset, one) for one in ({}, settled))
    assert some.left_out == told.why
    assert len(some.examples) == len(every.examples) - sum(told.why.values())


class Oracle(OpenAILike):
    """A second teacher that is always right."""

    def _whole(self, body):
        self.text = oracle(body["messages"][-1]["content"])
        return super()._whole({**body, "max_tokens": 9})


@pytest.mark.contract
@pytest.mark.timeout(900)
async def test_a_run_on_noisy_answers_asks_the_second_teacher_mends_them_and_says_that_it_helped(
    job: Job, tiny_encoder: Path, tmp_path: Path
) -> None:
    """Two candidates, for which all is decided and asked once."""
    student = {"kind": "classifier", "engine": "encoder", "base_model": str(tiny_encoder), "worker_failures": 0}
    settings = {**student, "min_steps": 2, "epochs": 0.2, "precision": "fp32", "threads": 1, "timed_answers": 1}
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(settings))  # JSON is YAML
    several = [str(tmp_path / f"{name}.yaml") for name in ("one", "two")]
    job = job.model_copy(
        update={
            "output": tmp_path / "out",
            "instructions": "Name the kind.",
            "config": {"candidates": several, "doubtful": "relabel"},
        }
    )
    async with serving(Oracle()) as server:
        await launched(job, server)
    report = Report.model_validate_json((job.output / "report.json").read_text())
    assert report.doubted is not None
    assert report.doubted.opinions is not None
    assert report.doubted.opinions.teacher == "other-1"
    assert len(server.bodies) == report.doubted.opinions.asked == sum(report.doubted.why.values())
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Name the kind."}
    assert report.doubted.relabelled >= 24
    assert report.doubted.helped is not None
    assert report.doubted.helped.settled_minus_given.high < 0
    assert [sum(one.left_out.values()) for one in report.candidates] == [report.doubted.left_out] * 2
    assert "so it helped" in (job.output / "report.html").read_text()


async def launched(job: Job, server: OpenAILike) -> None:
    path = job.output.with_name("job.json")
    path.write_text(job.model_dump_json(by_alias=True))
    told = {"BASE_URL": server.url, "API_KEY": KEY, "MODEL": "other-1"}
    environment = os.environ | {f"SECOND_TEACHER_{name}": value for name, value in told.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "training.launch", str(path), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()[-3000:]
