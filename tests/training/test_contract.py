import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from training.contract import Job, Progress

JOB = {
    "task": "addresses",
    "dataset": "data",
    "output": "out",
    "config": {"from": "smollm2-135m-cpu"},
    "answer_kind": "json",
    "validators": [{"kind": "grounded"}],
    "student_input_usd_per_million": "0.02",
    "student_output_usd_per_million": "0.08",
    "max_tokens": 64,
    "error_ceiling": 0.11,
}
HEAVY = {"torch", "ray", "numpy", "pyarrow", "transformers", "scipy", "yaml"}


def test_the_contract_and_the_rule_of_promotion_carry_nothing_heavy() -> None:
    code = "import sys, json, training.contract, training.verdict; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert not HEAVY & set(json.loads(loaded))


def test_a_job_survives_its_file() -> None:
    job = Job.model_validate(JOB)
    assert Job.model_validate_json(job.model_dump_json()) == job
    assert job.dataset == Path("data")


@pytest.mark.parametrize(
    "wrong", [{"max_token": 3}, {"max_tokens": 0}, {"answer_kind": "poem"}, {"error_ceiling": 1.5}]
)
def test_a_job_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Job.model_validate({**JOB, **wrong})


def test_a_progress_line_leaves_out_what_it_does_not_know() -> None:
    assert json.loads(Progress(stage="export", at=1.0).model_dump_json(exclude_none=True)) == {
        "stage": "export",
        "at": 1.0,
        "message": "",
    }
