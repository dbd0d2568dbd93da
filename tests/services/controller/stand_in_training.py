"""In the place of `python -m training.launch JOB`: no training, but its promises. Locks its output, leaves a report.

The dataset must be whole, the student is the one at STAND_IN_STUDENT, and STAND_IN_S is how long it takes.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from tests.services.controller.world import a_report
from training.contract import Job


def main(job: Job) -> None:
    """Once only: a second process waits for the first and finds its report."""
    with (job.output / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (job.output / "report.json").is_file():
            return
        check(job.dataset)
        time.sleep(float(os.environ["STAND_IN_S"]))
        shutil.copytree(os.environ["STAND_IN_STUDENT"], job.output / "triton", dirs_exist_ok=True)
        with (job.output / "trainings").open("a") as trainings:
            trainings.write("once\n")
        (job.output / "report.json").write_text(a_report(task=job.task).model_dump_json())


def check(dataset: Path) -> None:
    for name, digest in json.loads((dataset / "manifest.json").read_text())["sha256"].items():
        if hashlib.sha256((dataset / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{name} is not what the manifest says")


if __name__ == "__main__":
    main(Job.model_validate_json(Path(sys.argv[1]).read_text()))
