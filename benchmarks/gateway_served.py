"""What benchmarks.gateway starts on ports of their own: the backend, the service as it is run, bare grpc.aio."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import httpx

from benchmarks import engines
from benchmarks.gateway_tools import Tool
from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from services.settings import KafkaSettings


@dataclass(frozen=True)
class Setting:
    """What all have in common."""

    directory: Path
    cache: Path
    tool: Tool
    backend: str  # host:port
    processes: int


@contextmanager
def backend(directory: Path) -> Iterator[tuple[str, int]]:
    """The backend's host:port, and its pid."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    argv = (sys.executable, "-m", "benchmarks.gateway_backend", str(port))
    with engines.started(Part("backend", argv, partial(ready.accepts, address)), directory) as running:
        yield address, running.identity.pid


def answers_after(address: str, latency_ms: float) -> None:
    """From now on."""
    httpx.get(f"http://{address}/latency/{latency_ms:g}", trust_env=False).raise_for_status()


@contextmanager
def gateway(
    setting: Setting, kafka: KafkaSettings, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[dict[str, str], int]]:
    """The service as it is run, spool and Kafka on, and further settings; where it listens, and its first process."""
    ports = free_ports(2)
    at = {"grpc": f"{HOST}:{ports[0]}", "http": f"{HOST}:{ports[1]}", "metrics": f"{HOST}:{_row(setting.processes)}"}
    environment = {
        "GATEWAY_LISTEN": at["grpc"],
        "HTTP_LISTEN": at["http"],
        "METRICS_LISTEN": at["metrics"],
        "GATEWAY_PROCESSES": str(setting.processes),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "TEACHER_BASE_URL": f"http://{setting.backend}/v1",
        "TEACHER_API_KEY": "none",
        "SPOOL_DIR": str(setting.directory / "spool"),
        **settings,
    }
    log = setting.directory / "gateway.log"
    serves = lambda: log.read_text(errors="replace").count("the gateway serves") == setting.processes  # noqa: E731
    part = Part("gateway", (sys.executable, "-m", "services.gateway"), serves, environment)
    with engines.started(part, setting.directory) as running:
        yield at, running.identity.pid


def _row(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        (first,) = free_ports(1)
        if not any(ready.accepts(f"{HOST}:{port}") for port in range(first + 1, first + count)):
            return first


@contextmanager
def bare(setting: Setting, hold_s: float) -> Iterator[tuple[str, int]]:
    """Bare grpc.aio, as many processes as the gateway has: its host:port, and its first process."""
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    argv = (sys.executable, "-m", "benchmarks.gateway_bare", str(port), str(hold_s), str(setting.processes))
    with engines.started(Part("bare", argv, partial(ready.serves_grpc, address)), setting.directory) as running:
        yield address, running.identity.pid
