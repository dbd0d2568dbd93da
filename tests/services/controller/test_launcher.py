import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.controller import __main__ as controller
from services.controller.launcher import Launcher, last_lines
from tests.services.controller.world import a_task

FOREVER = "import time; time.sleep(600)"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text("{}")
    return path


async def until_started(job: Path, children: int = 1) -> list[int]:
    pids = job.with_name("launcher.pids")
    while not pids.is_file() or len(pids.read_text().split()) < children:  # noqa: ASYNC110 - a file tells no event
        await asyncio.sleep(0.01)
    return [int(pid) for pid in pids.read_text().split()]


def left_by_another_controller(job: Path, *more: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", FOREVER, *more], start_new_session=True)
    with job.with_name("launcher.pids").open("a") as pids:
        pids.write(f"{child.pid}\n")
    return child


async def test_the_child_gets_the_job_and_its_status_and_last_lines_are_known(job: Path) -> None:
    code = "import sys; print(sys.argv[1:]); print('out of memory', file=sys.stderr); sys.exit(3)"
    assert await Launcher(("-c", code), ray_address="").run(job) == 3
    assert sorted(last_lines(job).splitlines()) == [f"['{job}']", "out of memory"]


async def test_training_is_asked_what_it_has_against_a_config() -> None:
    check = ("-c", "import json, sys; print(*json.load(sys.stdin))")
    assert await Launcher((), "", check).objection({"learning_rat": 1}) == "learning_rat"
    assert await Launcher((), "").objection({"learning_rat": 1}) == ""


async def test_a_clusters_address_is_passed_on(job: Path) -> None:
    assert await Launcher(("-c", "import sys; print(sys.argv[2:])"), "ray://head:10001").run(job) == 0
    assert last_lines(job) == "['--ray-address', 'ray://head:10001']"


async def test_only_the_last_lines_are_told(job: Path) -> None:
    await Launcher(("-c", "print(*range(100), sep=chr(10))"), "").run(job)
    assert last_lines(job).splitlines() == [str(number) for number in range(85, 100)]


async def test_a_cancelled_launch_stops_its_child(job: Path) -> None:
    launch = asyncio.create_task(Launcher(("-c", FOREVER), "").run(job))
    [pid] = await until_started(job)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancelled_launch_stops_what_a_killed_controller_left(job: Path) -> None:
    left = left_by_another_controller(job, str(job))
    launch = asyncio.create_task(Launcher(("-c", FOREVER), "").run(job))
    await until_started(job, children=2)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert left.wait() == -signal.SIGTERM


async def test_a_process_that_was_given_the_number_since_is_left_alone(job: Path) -> None:
    stranger = left_by_another_controller(job)
    launch = asyncio.create_task(Launcher(("-c", FOREVER), "").run(job))
    await until_started(job, children=2)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


async def test_a_task_whose_training_config_no_run_could_start_with_is_named_at_the_start() -> None:
    student = a_task().student.model_copy(update={"training": "auto", "overrides": {"max_minuts": 2}})
    good = student.model_copy(update={"overrides": {"max_minutes": 2}})
    tasks = {name: a_task(name=name).model_copy(update={"student": one}) for name, one in (("a", student), ("b", good))}
    with capture_logs() as told:
        await controller._look_over(tasks, Launcher((), "", ("-m", "training.check")))
    [line] = told
    assert line["task"] == "a"
    assert line["reason"].startswith("max_minuts: there is no such setting; max_minutes?")
