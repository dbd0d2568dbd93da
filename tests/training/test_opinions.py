"""Whom a second teacher is asked about, what it is told, and what is kept of what it said."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_second_teacher_contract import FakeSecondTeacher
from training import opinions
from training.config import Config
from training.contract import Job

TABLE = [{"question": f"{place % 90}?", "completion": f"answer {place}"} for place in range(100)]
DOUBTFUL = list(range(0, 100, 5))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        task="questions",
        dataset=tmp_path,
        output=tmp_path,
        answer_kind="label",
        student_input_usd_per_million="0",
        student_output_usd_per_million="0",
        max_tokens=9,
        error_ceiling=0.1,
        instructions="Answer.",
    )


def heard(job: Job, teacher: FakeSecondTeacher, **settings: Any) -> opinions.Heard:
    return opinions.heard(job, Config(base_model="none", **settings), TABLE, DOUBTFUL, teacher)


def away(question: str) -> None:
    return None


def test_it_is_asked_about_each_doubtful_answer_with_the_instructions_and_undoubted_examples(job: Job) -> None:
    teacher = FakeSecondTeacher(str.upper)
    found = heard(job, teacher)
    assert found == opinions.Heard(20, {place: TABLE[place]["question"] for place in DOUBTFUL})
    assert sorted(question for _, _, question in teacher.asked) == sorted(TABLE[at]["question"] for at in DOUBTFUL)
    [(instructions, shots)] = {(told, tuple(shots)) for told, shots, _ in teacher.asked}
    assert instructions == "Answer."
    assert len(shots) == opinions.SHOTS
    doubtful = {TABLE[place]["question"] for place in DOUBTFUL}
    assert all(question not in doubtful for question, _ in shots)
    assert set(shots) <= {(row["question"], row["completion"]) for row in TABLE}


def test_the_seed_draws_the_examples(job: Job) -> None:
    drawn = [opinions.examples(TABLE, set(DOUBTFUL), seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_it_is_asked_about_no_more_than_the_config_wants(job: Job) -> None:
    teacher = FakeSecondTeacher(str.upper)
    assert heard(job, teacher, most_second_opinions=7).asked == len(teacher.asked) == 7
    assert heard(job, FakeSecondTeacher(str.upper), most_second_opinions=0) == opinions.Heard(0, {})


def test_a_run_that_goes_on_asks_nothing_twice_whatever_line_was_cut_off(job: Job) -> None:
    whole = heard(job, FakeSecondTeacher(str.upper))
    path = job.output / opinions.FILE
    path.write_text(path.read_text()[:-3])
    teacher = FakeSecondTeacher(str.upper)
    assert heard(job, teacher) == whole
    assert len(teacher.asked) == 1
    assert heard(job, FakeSecondTeacher(away)) == whole


def test_what_another_teacher_said_before_is_not_taken_for_its_word(job: Job) -> None:
    heard(job, FakeSecondTeacher(str.upper))
    other = FakeSecondTeacher(str.upper)
    other.name = "other"
    heard(job, other)
    assert len(other.asked) == 20


def test_a_question_that_it_fails_on_has_no_opinion_and_the_others_have(job: Job) -> None:
    found = heard(job, FakeSecondTeacher(lambda question: None if question == "5?" else "x"))
    assert set(found.answers) == set(DOUBTFUL) - {5, 95}
    assert (found.asked, found.why) == (20, "it is away")


def test_one_that_is_away_is_not_asked_for_long(job: Job) -> None:
    teacher = FakeSecondTeacher(away)
    assert heard(job, teacher) == opinions.Heard(20, {}, "it is away")
    assert len(teacher.asked) == opinions.AT_ONCE


def test_progress_is_told(job: Job) -> None:
    heard(job, FakeSecondTeacher(str.upper))
    lines = [json.loads(line) for line in (job.output / "train.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["done"], line["total"]) for line in lines] == [
        ("settle", 8, 20),
        ("settle", 16, 20),
        ("settle", 20, 20),
    ]
