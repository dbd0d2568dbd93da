"""One quick demo, run as a user would, whose stack stays up for the tests of this folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import inference_pb2 as inference
from protos import inference_pb2_grpc
from services.cli.settings import stack_environment
from services.clickhouse import ClickHouse
from services.settings import ClickHouseSettings
from tests.end_to_end import parcels, second_task

TUTELAGE = Path(sys.executable).with_name("tutelage")
DEMO_TAKES_S = 900


@dataclass(frozen=True)
class Demo:
    """The stack that a demo left up, and what it printed and wrote."""

    state: Path
    printed: str
    result: dict[str, Any]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return stack_environment(self.state)

    def tutelage(self, *arguments: str, code: int = 0) -> str:
        """What the command prints. Fails unless it ends with `code`."""
        done = subprocess.run(
            [TUTELAGE, *arguments, "--state", self.state], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def who_answers(self, task: str, text: str) -> inference.Backend:
        request = inference.Request(task=task)
        request.messages.add(role=inference.ROLE_USER, content=text)
        with grpc.insecure_channel(self.environment["GATEWAY_ADDRESS"]) as channel:
            reply = inference_pb2_grpc.InferenceStub(channel).Complete(request, timeout=30)
        return reply.answered_by

    def query(self, sql: str) -> list[dict[str, Any]]:
        clickhouse = ClickHouse(ClickHouseSettings(clickhouse_url=self.environment["CLICKHOUSE_URL"]))
        try:
            return clickhouse.query(sql)
        finally:
            clickhouse.close()


def wait_for(ready: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.5) -> None:
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, f"{what} did not come true within {timeout_s} s"
        time.sleep(every_s)


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    tasks = folder / "tasks"
    shutil.copytree("deploy/tasks", tasks)
    second_task.write_task(tasks)
    parcels.write_task(tasks)
    state, log = folder / "state", folder / "printed"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [TUTELAGE, "demo", "--quick", "--keep", "--state", state, "--tasks", tasks],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("TEACHER_")},
        )
    try:
        wait_for(lambda: running.poll() is not None or "demo.json" in log.read_text(), DEMO_TAKES_S, "the demo's end")
        printed = log.read_text()
        assert running.poll() is None, f"the demo ended with {running.returncode}:\n{printed[-5000:]}"
        path = Path(re.findall(r"^(/.*demo\.json)$", printed, re.MULTILINE)[-1])
        yield Demo(state, printed, json.loads(path.read_text()), path.parent)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(120)
