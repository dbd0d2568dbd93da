"""A stack that is taken down and brought up again serves the students that it had promoted."""

import os
import subprocess

import grpc
import pytest

from deploy.local.home import read_record
from deploy.local.parts import SERVICES
from protos import inference_pb2 as inference
from tests.end_to_end import second_task
from tests.end_to_end.conftest import TUTELAGE, Demo, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


def test_runs_reports_and_promotions_outlive_the_stack(demo: Demo) -> None:
    """Comes last in this folder: it ends the demo's own stack."""
    before = demo.tutelage("run", "show", second_task.NAME)
    demo.tutelage("down")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEACHER_")}
    again = subprocess.Popen(
        [TUTELAGE, "up", "--state", demo.state, "--tasks", demo.state.with_name("tasks")],
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    try:
        wait_for(lambda: again.poll() is not None or _is_up(demo), 200, "the stack")
        assert demo.tutelage("run", "show", second_task.NAME) == before
        assert "promote" in demo.tutelage("report", second_task.NAME)
        wait_for(lambda: _student_answers(demo), 120, "the student's answer")
        demo.tutelage("down")
        assert again.wait(60) == 0
    finally:
        again.kill()


def _student_answers(demo: Demo) -> bool:
    """Nobody does, as there is no teacher, until the controller has its Triton loaded again."""
    try:
        return demo.who_answers(second_task.NAME, "12 Main St Apt 4") == inference.BACKEND_STUDENT
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise


def _is_up(demo: Demo) -> bool:
    """The last part is started when all others are ready."""
    record = read_record(demo.state)
    return record is not None and SERVICES[-1] in record.parts
