"""A broker of its own, a gateway that says what it is told to, and the intake as a real process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import uuid_utils
import yaml

from deploy.local import broker
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc as inference_grpc
from services.kafka import Consumer, Producer, create_topics
from services.settings import KafkaSettings
from services.topics import DEAD_LETTERS, REQUESTS, Record, encode
from tests.fixtures.engines import accepting, started

PATIENCE_S = 90.0
CONCURRENCY = 8
PRICES = {"input_usd_per_million": 1, "output_usd_per_million": 1}
TASK = {
    "name": "address",
    "answer": "text",
    "teacher": {"model": "gpt-4", "may_be_trained_on": True, "prices": PRICES},
    "student": {"prices": PRICES},
    "error_ceiling": 0.1,
    "latency_budget_ms": 1500,
}


class FakeGateway(inference_grpc.InferenceServicer):
    """Answers requests, or ends them as `says` wants for a request's question; holds those in `held`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.says: dict[str, grpc.StatusCode] = {}
        self.metadata: dict[str, str] = {}
        self.left_s: list[float] = []
        self.most_at_once = 0
        self.release = threading.Event()
        self.release.set()
        self._open = 0
        self._lock = threading.Lock()
        self._server: Any = None

    def Complete(self, request: inference.Request, context: Any) -> inference.Reply:
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            self.asked[request.request_id] += 1
        try:
            self.metadata = dict(context.invocation_metadata())
            self.left_s.append(context.time_remaining())
            self.release.wait(context.time_remaining())
            if status := self.says.get(request.messages[0].content):
                context.abort(status, "as told")
            self.answered[request.request_id] += 1
            return inference.Reply(exchange_id=request.request_id)
        finally:
            with self._lock:
                self._open -= 1

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(32))
        inference_grpc.add_InferenceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        self.release.set()
        self._server.stop(0).wait()


class World:
    """Kafka as producers see it, the gateway, and the intake between them."""

    def __init__(self, bootstrap: str, gateway: FakeGateway, directory: Path) -> None:
        self.settings = KafkaSettings(kafka_bootstrap_servers=bootstrap)
        self.gateway = gateway
        self.dead: list[Record] = []
        self._directory = directory
        self._producer = Producer(self.settings)
        self._reader = Consumer(self.settings, f"reader-{uuid_utils.uuid7()}", [DEAD_LETTERS])

    def ask(self, *questions: str) -> list[str]:
        """Produce a request for each question; return their ids."""
        requests = [
            inference.Request(
                task="address",
                request_id=str(uuid_utils.uuid7()),
                messages=[inference.Message(role=inference.ROLE_USER, content=question)],
            )
            for question in questions
        ]
        self.produce(*(encode(REQUESTS, request) for request in requests))
        return [request.request_id for request in requests]

    def produce(self, *records: Record) -> None:
        for record in records:
            self._producer.send(record)
        assert self._producer.flush(30) == 0

    def wait_until(self, happened: Callable[[], bool]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < until_s, f"not within {PATIENCE_S} s: {self.log()}"
            self.dead += self._reader.poll(100, 0.1)

    def log(self) -> str:
        return (self._directory / "log").read_text()[-3000:]

    def close(self) -> None:
        self._reader.close()

    @contextmanager
    def intake(self) -> Iterator[subprocess.Popen[bytes]]:
        """An intake, ended by SIGTERM if it has not ended before."""
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "GATEWAY_ADDRESS": self.gateway.address,
            "TASKS_DIR": str(self._directory / "tasks"),
            "INTAKE_CONCURRENCY": str(CONCURRENCY),
            "METRICS_LISTEN": "",
        }
        with (self._directory / "log").open("ab") as log:
            argv = [sys.executable, "-m", "services.intake"]
            process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "address.yaml").write_text(yaml.safe_dump(TASK))
    broker_port, gateway_port = free_ports(2)
    address = f"{HOST}:{broker_port}"
    gateway = FakeGateway(f"{HOST}:{gateway_port}")
    gateway.start()
    with started(Part("broker", tuple(broker.command(broker_port)), accepting(address)), tmp_path / "broker.log"):
        create_topics(KafkaSettings(kafka_bootstrap_servers=address), partitions=2)
        made = World(address, gateway, tmp_path)
        yield made
        made.close()
    gateway.stop()
