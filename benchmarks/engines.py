"""What benchmarks share: engines and services as processes of their own on loopback, and what is read of them."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import broker as tansu
from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part, Running, tail
from deploy.local.parts import clickhouse_command
from deploy.local.processes import wait_until
from services.kafka import create_topics
from services.settings import ClickHouseSettings, KafkaSettings

PARTITIONS: Final = 4


@contextmanager
def started(part: Part, directory: Path) -> Iterator[Running]:
    """A part, ready, and stopped at the end. RuntimeError, with the end of its log, if it does not come up."""
    log = directory / f"{part.name}.log"
    running = Running(part, log)
    try:
        wait_until(lambda: running.exit_code() is not None or part.ready(), part.ready_within_s)
        if running.exit_code() is not None or not part.ready():
            raise RuntimeError(f"{part.name} does not come up:\n{tail(log)}")
        yield running
    finally:
        running.stop()


@contextmanager
def at(address: str, part: Part, directory: Path) -> Iterator[str]:
    """The address of a part while it runs."""
    with started(part, directory):
        yield address


@contextmanager
def folder() -> Iterator[Path]:
    """A directory of the benchmark's own, gone at its end."""
    with tempfile.TemporaryDirectory(prefix="tutelage-benchmark-") as name:
        yield Path(name)


@contextmanager
def broker(directory: Path) -> Iterator[KafkaSettings]:
    """Tansu, in memory, with all topics."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    with started(Part("broker", tuple(tansu.command(port)), partial(ready.accepts, address)), directory):
        settings = KafkaSettings(kafka_bootstrap_servers=address)
        create_topics(settings, PARTITIONS)
        yield settings


@contextmanager
def clickhouse(directory: Path) -> Iterator[ClickHouseSettings]:
    """The ClickHouse engine behind its HTTP interface, without tables."""
    url = f"http://{HOST}:{(port := free_ports(1)[0])}"
    command = clickhouse_command(directory / "clickhouse", port)
    with started(Part("clickhouse", command, partial(ready.answers_http, f"{url}/ping")), directory):
        yield ClickHouseSettings(clickhouse_url=url)


class Service:
    """A running service and its metrics."""

    def __init__(self, running: Running, metrics: str) -> None:
        self._process = psutil.Process(running.identity.pid)
        self._url = f"http://{metrics}/metrics"

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now; 0 where it has none as yet."""
        return next(self._values(name, labels), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """The sum over the labels that are not given."""
        return sum(self._values(name, labels))

    def _values(self, name: str, labels: Mapping[str, str]) -> Iterator[float]:
        text = httpx.get(self._url, trust_env=False).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return (s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def rss_mib(self) -> float:
        """Its resident memory."""
        return round(float(self._process.memory_info().rss) / 2**20, 1)

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def service(
    name: str, directory: Path, environment: Mapping[str, str], module: Sequence[str] = ()
) -> Iterator[Service]:
    """`python -m services.NAME`, or another module with its arguments, under these settings."""
    metrics = f"{HOST}:{free_ports(1)[0]}"
    argv = (sys.executable, "-m", *(module or (f"services.{name}",)))
    is_ready = partial(ready.answers_http, f"http://{metrics}/metrics")
    with started(Part(name, argv, is_ready, {**environment, "METRICS_LISTEN": metrics}), directory) as running:
        yield Service(running, metrics)


def settings_of(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> dict[str, str]:
    """The environment by which a service finds these."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "KAFKA_GROUP_PROTOCOL": kafka.kafka_group_protocol,
        "CLICKHOUSE_URL": clickhouse.clickhouse_url,
        "CLICKHOUSE_DATABASE": clickhouse.clickhouse_database,
    }
