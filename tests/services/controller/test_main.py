"""The whole controller as a process on real engines, killed at every state; only training is a stand-in."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import uuid_utils
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deploy.local import broker
from deploy.local.addresses import free_ports
from deploy.local.part import Part
from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.controller.store import GOLDEN_COLUMNS
from services.controller.triton import Triton
from services.kafka import Follower, create_topics
from services.settings import ClickHouseSettings, KafkaSettings
from services.sink import schema
from services.topics import PROMOTIONS, RUNS, Topic, decode
from tests.fixtures.engines import TritonServer, accepting, started
from tests.services.controller.test_store import answered, chosen, golden_row
from tests.services.controller.world import a_task

pytestmark = [pytest.mark.contract, pytest.mark.timeout(240)]

TASK = "controllers-labels"
WITHIN_S = 60.0
STATES = [events.RUN_STATE_SNAPSHOT, events.RUN_STATE_TRAINING, events.RUN_STATE_JUDGING, events.RUN_STATE_LOADING]


@dataclass
class Process:
    """The controller's process, its outside, and what it says on its topics."""

    environment: dict[str, str]
    kafka: KafkaSettings
    log: Path
    address: str
    followers: dict[str, Follower] = field(default_factory=dict)
    seen: dict[str, list[Any]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "services.controller"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def stop(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30)

    def follow(self, topic: Topic) -> list[Any]:
        """Every event of a topic so far, in order."""
        if topic.name not in self.followers:
            self.followers[topic.name] = Follower(self.kafka, topic.name)
            self.followers[topic.name].start(10)
        records = self.followers[topic.name].poll(100, 0.1)
        self.seen.setdefault(topic.name, []).extend(decode(record) for record in records)
        return self.seen[topic.name]

    def states(self) -> list["events.RunState"]:
        return [run.state for run in self.follow(RUNS)]

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait; what the controller logged is shown if it never happens."""
        end_s = time.monotonic() + WITHIN_S
        while not happened():
            assert time.monotonic() < end_s, self.log.read_text()[-6000:]
            assert events.RUN_STATE_FAILED not in self.states(), self.log.read_text()[-6000:]
            time.sleep(0.02)

    def call(self, method: str, request: Any) -> Any:
        with grpc.insecure_channel(self.address) as channel:
            return getattr(control_pb2_grpc.ControlStub(channel), method)(request, timeout=30, wait_for_ready=True)


@pytest.fixture(scope="module")
def tables(clickhouse: str) -> Iterator[ClickHouse]:
    """Candidates to train on, golden examples to prove with, and the teacher's answers."""
    name = f"controller_{uuid_utils.uuid7().hex}"
    database = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name))
    schema.apply(database)
    for number in range(3):
        chosen(database, f"train {number}", number, task=TASK)
        chosen(database, f"eval {number}", number, split=events.SPLIT_EVAL, task=TASK)
        answered(database, f"golden {number}?", "yes", seconds=1, task=TASK)
    rows = [golden_row(number, task=TASK) for number in range(3)]
    database.insert("golden", GOLDEN_COLUMNS, rows, token="golden")
    yield database
    database.command(f"DROP DATABASE {name}")
    database.close()


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker of the test's own: the controller takes up every run that it finds."""
    address = f"127.0.0.1:{(port := free_ports(1)[0])}"
    with started(Part("broker", tuple(broker.command(port)), accepting(address)), tmp_path / "broker.log"):
        settings = KafkaSettings(kafka_bootstrap_servers=address)
        create_topics(settings, partitions=1)
        yield settings


@pytest.fixture
def controller(
    tmp_path: Path, kafka: KafkaSettings, tables: ClickHouse, triton: TritonServer, tiny_student: Path
) -> Iterator[Process]:
    """Not started yet."""
    (tmp_path / "tasks").mkdir()
    task = a_task(name=TASK).model_dump(mode="json", by_alias=True)
    (tmp_path / "tasks" / f"{TASK}.yaml").write_text(yaml.safe_dump(task))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    environment = os.environ | {
        "CONTROL_LISTEN": address,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": tables._settings.clickhouse_url,
        "CLICKHOUSE_DATABASE": tables._settings.clickhouse_database,
        "TASKS_DIR": str(tmp_path / "tasks"),
        "SNAPSHOTS_DIR": str(tmp_path / "snapshots"),
        "RUNS_DIR": str(tmp_path / "runs"),
        "TRITON_REPOSITORY": str(triton.repository),
        "TRITON_GRPC_ADDRESS": triton.grpc_address,
        "TRAINING_COMMAND": '["-m", "tests.services.controller.stand_in_training"]',
        "TRAINING_CHECK": "[]",
        "WATCH_EVERY_S": "0.5",
        "METRICS_LISTEN": "",
        "STAND_IN_STUDENT": str(tiny_student),
        "STAND_IN_S": "2",
    }
    process = Process(environment, kafka, tmp_path / "log", address)
    yield process
    if process.process and process.process.poll() is None:
        process.stop(signal.SIGKILL)
    for follower in process.followers.values():
        follower.close()
    Triton(triton.grpc_address, 10).unload(TASK)
    shutil.rmtree(triton.repository / TASK, ignore_errors=True)


def trainings(runs_dir: Path) -> int:
    """How often the stand-in really trained."""
    return sum(len(path.read_text().splitlines()) for path in runs_dir.glob("*/*/trainings"))


def test_a_controller_killed_at_every_state_ends_with_one_promotion(controller: Process, tmp_path: Path) -> None:
    controller.start()
    controller.call("StartRun", control.StartRunRequest(task=TASK))
    for state in STATES:
        controller.until(lambda at=state: at in controller.states())  # type: ignore[misc]
        controller.stop(signal.SIGKILL)
        controller.start()
    controller.until(lambda: bool(controller.follow(PROMOTIONS)))
    controller.stop(signal.SIGKILL)
    controller.start()
    controller.until(lambda: events.RUN_STATE_DONE in controller.states())
    assert controller.states() == [*STATES, events.RUN_STATE_DONE]
    run = controller.call("GetRun", control.GetRunRequest(task=TASK))
    assert (run.promoted, run.snapshot, run.student_version) == (True, 1, 1)
    [promotion] = controller.follow(PROMOTIONS)
    assert (promotion.run_id, promotion.student_version) == (run.id, 1)
    assert trainings(tmp_path / "runs") == 1
    assert [path.name for path in (tmp_path / "snapshots" / TASK).iterdir()] == ["1"]
    assert controller.stop(signal.SIGTERM) == 0


def test_a_stopped_controller_stops_its_training_and_goes_on_with_it_later(controller: Process) -> None:
    controller.environment["STAND_IN_S"] = "60"
    controller.start()
    run = controller.call("StartRun", control.StartRunRequest(task=TASK))
    pids = Path(controller.environment["RUNS_DIR"]) / TASK / run.id / "launcher.pids"
    controller.until(pids.is_file)
    assert controller.stop(signal.SIGTERM) == 0
    assert not Path(f"/proc/{pids.read_text().strip()}").exists()
    assert controller.states()[-1] == events.RUN_STATE_TRAINING
    controller.environment["STAND_IN_S"] = "0"
    controller.start()
    controller.until(lambda: events.RUN_STATE_DONE in controller.states())


def test_a_second_controller_says_that_there_is_a_first_and_exits(controller: Process) -> None:
    controller.start()
    controller.call("Status", control.StatusRequest())
    command = [sys.executable, "-m", "services.controller"]
    second = subprocess.run(
        command, env=controller.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert controller.process
    assert f"another controller is active (process {controller.process.pid})" in second.stderr


def test_it_tells_its_health_and_its_services(controller: Process) -> None:
    controller.start()
    controller.call("Status", control.StatusRequest())
    with grpc.insecure_channel(controller.address) as channel:
        request = health_pb2.HealthCheckRequest(service="tutelage.v1.Control")
        health = health_pb2_grpc.HealthStub(channel).Check(request)
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([listing]))
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert "tutelage.v1.Control" in {service.name for service in answer.list_services_response.service}


def test_candidates_beyond_the_threshold_start_a_run_and_a_person_rolls_it_back(controller: Process) -> None:
    path = Path(controller.environment["TASKS_DIR"]) / f"{TASK}.yaml"
    path.write_text(path.read_text().replace("run_at_candidates: 0", "run_at_candidates: 3"))
    controller.environment["STAND_IN_S"] = "0"
    controller.start()
    controller.until(lambda: events.RUN_STATE_DONE in controller.states())
    [status] = controller.call("Status", control.StatusRequest(task=TASK)).tasks
    assert (status.train_candidates, status.eval_candidates, status.golden_examples) == (3, 3, 3)
    assert (status.promotion.student_version, len(status.runs)) == (1, 1)
    back = controller.call("Rollback", control.RollbackRequest(task=TASK, reason="to see", decided_by="ann"))
    assert back.policy.kind == events.POLICY_KIND_TEACHER_ONLY
    controller.until(lambda: len(controller.follow(PROMOTIONS)) == 2)


def erase(controller: Process, *options: str) -> str:
    code = "from services.cli import app; app()"
    command = [sys.executable, "-c", code, "erase", "--group-key", "group of private", "--task", TASK, *options]
    environment = controller.environment | {"CONTROL_ADDRESS": controller.address, "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_customer_is_erased_from_the_command_line_and_the_tasks_retention_holds(
    controller: Process, tables: ClickHouse
) -> None:
    path = Path(controller.environment["TASKS_DIR"]) / f"{TASK}.yaml"
    path.write_text(path.read_text().replace("candidates_days: 400", "candidates_days: 500"))
    for number in range(2):
        chosen(tables, "private", number, task=TASK)
    controller.start()
    counts = lambda: controller.call("Status", control.StatusRequest(task=TASK)).tasks[0].train_candidates  # noqa: E731
    assert counts() == 5
    shown = erase(controller, "--dry-run")
    assert "candidates" in shown
    assert "would be removed" in shown
    assert counts() == 5
    shown = erase(controller, "--yes")
    assert "Kafka, exchanges: " in shown
    assert "receipt " in shown
    assert counts() == 3
    [receipt] = (Path(controller.environment["RUNS_DIR"]) / ".erasures").glob("*.json")
    assert "private" not in receipt.read_text()
    table = "SELECT engine_full AS engine FROM system.tables WHERE database = currentDatabase() AND name = 'candidates'"
    controller.until(lambda: f"['{TASK}'], [500], 400)" in tables.query(table)[0]["engine"])
    refused = control.EraseRequest(group_key=" ", decided_by="ann")
    with pytest.raises(grpc.RpcError, match="group_key: is required"):
        controller.call("Erase", refused)
