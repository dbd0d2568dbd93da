"""The services as processes around a real Kafka and a real ClickHouse, each to be killed and started again."""

import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import yaml

from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part, Running, tail
from deploy.local.parts import clickhouse_command
from deploy.local.processes import wait_until
from services.kafka import create_topics
from services.settings import ClickHouseSettings, KafkaSettings
from tests.drills.background import Background, background
from tests.drills.calls import TASK, TIMEOUT_S, Calls
from tests.fixtures.apache_kafka import ApacheKafka
from tests.services.gateway import openai_like

READY_WITHIN_S: Final = 60.0
PARTITIONS: Final = 4
SESSION: Final = {"KAFKA_OPTIONS": '{"group.instance.id": "the-one"}'}
"""A member that keeps its name: started again it has its partitions at once, and the group does not wait for its
session to end, so that a hundred kills take minutes."""


class World:
    """What a drill plays with. Services are named as their modules; `start` may give one another name or build."""

    def __init__(self, folder: Path, kafka: ApacheKafka, loop: Background) -> None:
        self.folder = folder
        self.kafka = kafka
        self.loop = loop
        self.gateway = f"{HOST}:{free_ports(1)[0]}"
        self.control = f"{HOST}:{free_ports(1)[0]}"
        self.clickhouse_url = f"http://{HOST}:{free_ports(1)[0]}"
        self.teacher = loop.keep(openai_like.serving())
        self.calls = Calls(self.gateway)
        self.sink_group = "sink"
        self.runs: type[Running] = Running
        """How services are started."""
        self._parts: dict[str, Part] = {}
        self._running: dict[str, Running] = {}
        write_task(folder / "tasks")

    @contextmanager
    def load(self, rate_per_s: float = 40.0, text_bytes: int = 200) -> Iterator[None]:
        """Calls at that rate while the context is open; once it is left, every call has ended."""
        self.calls.rate_per_s, self.calls.text_bytes, self.calls.stopping = rate_per_s, text_bytes, False
        calling = self.loop.begin(self.calls.run())
        try:
            yield
        finally:
            self.calls.stopping = True
            calling.result(3 * TIMEOUT_S)

    def answers_again(self) -> None:
        """Return when one more call has been answered: callers whose gateway was killed need a moment to find it."""
        before = len(self.calls.answered)
        wait_until(lambda: len(self.calls.answered) > before, READY_WITHIN_S)
        assert len(self.calls.answered) > before, f"nobody answers: {self.calls.reasons}"

    @property
    def kafka_settings(self) -> KafkaSettings:
        return KafkaSettings(kafka_bootstrap_servers=self.kafka.bootstrap)

    @property
    def clickhouse_settings(self) -> ClickHouseSettings:
        return ClickHouseSettings(clickhouse_url=self.clickhouse_url)

    def start_engines(self) -> None:
        """Kafka with its topics, and ClickHouse."""
        self.kafka.start()
        self.launch(self._clickhouse())
        self.kafka.wait()
        create_topics(self.kafka_settings, PARTITIONS, self.kafka.copies)
        self.wait("clickhouse")

    def start(self, *names: str, build: str = "", **environment: str) -> None:
        """Start services, and return when all are ready. `build` is what to run in the service's place."""
        for name in names:
            self.launch(self._service(name, build or f"services.{name.partition('-')[0]}", environment))
        for name in names:
            self.wait(name)

    def restart(self, name: str) -> None:
        """Start what was killed or stopped, as it was started before."""
        self.launch(self._parts[name])
        self.wait(name)

    def launch(self, part: Part) -> None:
        self._parts[part.name] = part
        self._running[part.name] = self.runs(part, self.log(part.name))

    def wait(self, name: str) -> None:
        """Return when it is ready. Fails with its last words if it ends or does not come up."""
        running = self._running[name]
        wait_until(lambda: running.exit_code() is not None or running.part.ready(), READY_WITHIN_S)
        assert running.exit_code() is None, f"{name} ended with {running.exit_code()}:\n{tail(running.log)}"
        assert running.part.ready(), f"{name} is not ready:\n{tail(running.log)}"

    def kill(self, name: str) -> None:
        """As by `kill -9`. Fails if it had ended by itself: that would be a crash, not a drill."""
        running = self._running.pop(name)
        assert running.exit_code() is None, f"{name} had ended with {running.exit_code()}:\n{tail(running.log)}"
        running.kill()

    def stop(self, name: str) -> None:
        """As by SIGTERM."""
        self._running.pop(name).stop()

    def check(self) -> None:
        """Fails if anything that should run has ended by itself."""
        for name, running in self._running.items():
            assert running.exit_code() is None, f"{name} ended with {running.exit_code()}:\n{tail(running.log)}"

    def pid(self, name: str) -> int:
        return self._running[name].identity.pid

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def metrics(self, name: str) -> str:
        """The address where a running service shows its metrics."""
        return str(self._running[name].part.environment["METRICS_LISTEN"])

    def running(self, kind: str) -> list[str]:
        return [name for name in self._running if name.partition("-")[0] == kind]

    def renew(self) -> None:
        """As at the beginning, on engines that run on: no service, no record, no row."""
        for name in [name for name in self._running if name != "clickhouse"]:
            self._running.pop(name).kill()
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if not all(broker.running for broker in self.kafka.brokers):
            self.kafka.kill()
            self.kafka.start()
            self.kafka.wait()
        if "clickhouse" not in self._running:
            self.restart("clickhouse")
        self.kafka.delete_topics()
        create_topics(self.kafka_settings, PARTITIONS, self.kafka.copies)
        httpx.post(
            self.clickhouse_url, content="DROP DATABASE IF EXISTS tutelage SYNC", trust_env=False
        ).raise_for_status()
        # Another name: the group waits for the session of a member that was killed.
        self.sink_group, self.calls, self.teacher.delay_s = f"sink-{uuid.uuid4()}", Calls(self.gateway), 0.0

    def close(self) -> None:
        """Kill what is left; the services first, or they would wait for the engines."""
        for running in reversed(self._running.values()):
            running.kill()
        self.kafka.kill()

    def _clickhouse(self) -> Part:
        argv = clickhouse_command(self.folder / "clickhouse", int(self.clickhouse_url.rpartition(":")[2]))
        return Part("clickhouse", argv, partial(ready.answers_http, f"{self.clickhouse_url}/ping"))

    def _service(self, name: str, module: str, given: Mapping[str, str]) -> Part:
        metrics = f"{HOST}:{free_ports(1)[0]}"
        environment = {**self._environment(name), "METRICS_LISTEN": metrics, **given}
        serves = {"gateway": self.gateway, "controller": self.control}.get(name)
        up = partial(ready.serves_grpc, serves) if serves else partial(ready.answers_http, f"http://{metrics}/metrics")
        return Part(name, (sys.executable, "-m", *module.split()), up, environment)

    def _environment(self, name: str) -> dict[str, str]:
        own = self.folder / name
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "CLICKHOUSE_URL": self.clickhouse_url,
            "SINK_GROUP": self.sink_group,
            "TASKS_DIR": str(self.folder / "tasks"),
            "GATEWAY_LISTEN": self.gateway,
            "HTTP_LISTEN": "",
            "GATEWAY_ADDRESS": self.gateway,
            "CONTROL_LISTEN": self.control,
            "TEACHER_BASE_URL": self.teacher.url,
            "TEACHER_API_KEY": openai_like.KEY,
            "TRITON_GRPC_ADDRESS": f"{HOST}:1",  # Nobody: the teacher answers all.
            "SPOOL_DIR": str(own / "spool"),
            "SNAPSHOTS_DIR": str(own / "snapshots"),
            "RUNS_DIR": str(own / "runs"),
            "TRITON_REPOSITORY": str(own / "triton"),
            "SAMPLER_DATA_DIR": str(own / "sampler"),
            "SAMPLER_REPLICATION": str(self.kafka.copies),
        }


def write_task(folder: Path) -> None:
    folder.mkdir()
    prices = {"input_usd_per_million": 30, "output_usd_per_million": 60}
    task = {
        "name": TASK,
        "answer": "text",
        "teacher": {"model": "gpt-4", "may_be_trained_on": True, "prices": prices},
        "student": {"prices": prices},
        "error_ceiling": 0.2,
    }
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(task))


@contextmanager
def world(folder: Path, brokers: int = 1) -> Iterator[World]:
    """Engines that are up, and no service yet."""
    kafka = ApacheKafka(folder, brokers)
    with background() as loop:
        made = World(folder, kafka, loop)
        try:
            made.start_engines()
            yield made
        finally:
            made.close()
