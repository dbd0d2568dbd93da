"""A broker of its own, so that the sampler reads no other test's exchanges, and workers as real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import uuid_utils
import yaml

from deploy.local import broker
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from protos import events_pb2 as events
from services.kafka import Consumer, Producer, create_topics
from services.settings import KafkaSettings
from services.topics import CANDIDATES, DEAD_LETTERS, TOPICS, Record, decode, encode
from tests.fixtures.engines import accepting, started
from tests.services.sampler.makers import ADDRESS

PARTITIONS = 3
PATIENCE_S = 90.0


class World:
    """Kafka as the sampler's neighbours see it. Reads from the beginning, so nothing is missed."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self.settings = KafkaSettings(kafka_bootstrap_servers=bootstrap)
        self.directory = directory
        self.candidates: dict[str, events.Candidate] = {}
        self.dead: list[Record] = []
        self._producer = Producer(self.settings)
        self._reader = Consumer(self.settings, f"reader-{uuid_utils.uuid7()}", [CANDIDATES.name, DEAD_LETTERS])

    def tell(self, *messages: events.Exchange | events.FeedbackRecord) -> None:
        topic = {events.Exchange: "exchanges", events.FeedbackRecord: "feedback"}
        self.produce(*(encode(TOPICS[topic[type(message)]], message) for message in messages))

    def produce(self, *records: Record) -> None:
        for record in records:
            self._producer.send(record)
        assert self._producer.flush(30) == 0

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Read on until it has happened; `candidates` holds the latest of each id, as the table does."""
        until_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < until_s, f"{len(self.candidates)} candidates, {self.log()}"
            for record in self._reader.poll(1000, 0.5):
                if record.topic == DEAD_LETTERS:
                    self.dead.append(record)
                else:
                    self._fold(decode(record))

    def _fold(self, made: events.Candidate) -> None:
        known = self.candidates.get(made.id)
        if known is None or known.decided_at.ToNanoseconds() <= made.decided_at.ToNanoseconds():
            self.candidates[made.id] = made

    def log(self) -> str:
        return (self.directory / "log").read_text()[-3000:]

    def close(self) -> None:
        self._reader.close()

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "TASKS_DIR": str(self.directory / "tasks"),
            "SAMPLER_DATA_DIR": str(self.directory / "data"),
            "METRICS_LISTEN": "",
        }

    @contextmanager
    def worker(self, argv: Sequence[str] = ("-m", "services.sampler")) -> Iterator[subprocess.Popen[bytes]]:
        """A sampler, ended by SIGTERM if it has not ended before."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *argv], env=self.environment(), stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "address.yaml").write_text(yaml.safe_dump(ADDRESS))
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    with started(Part("broker", tuple(broker.command(port)), accepting(address)), tmp_path / "broker.log"):
        create_topics(KafkaSettings(kafka_bootstrap_servers=address), PARTITIONS)
        made = World(address, tmp_path)
        yield made
        made.close()
