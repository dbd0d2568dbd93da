"""The parts of the stack in the order of their start: the engines, then the services, each with its settings."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import deploy
from deploy.local import broker, leaving, ray_head, ready, triton, trusting
from deploy.local.addresses import Addresses
from deploy.local.options import StackOptions
from deploy.local.part import Part
from services.kafka import create_topics
from services.settings import KafkaSettings
from services.topics import EXCHANGES, FEEDBACK, KEY_USAGE, REQUESTS, TOPICS

ENGINES: Final = ("broker", "clickhouse", "triton", "ray")
SERVICES: Final = ("sink", "sampler", "controller", "gateway", "intake")
"""Stopped the other way round: who writes first, who reads last."""
READS: Final[Mapping[str, tuple[str, ...]]] = {
    "sink": tuple(TOPICS.keys() - {REQUESTS.name, KEY_USAGE.name}),
    "sampler": (EXCHANGES.name, FEEDBACK.name),
}
"""The topics that a service has read before it is stopped; its group has its name."""


def all_parts(options: StackOptions, at: Addresses, state_dir: Path) -> list[Part]:
    """Every part that is not left out. `state_dir` is absolute.

    Raises ValueError naming a setting by which a service speaks TLS, but to nobody on this machine.
    """
    engines = [
        _broker(options, at, state_dir),
        _clickhouse(at, state_dir),
        _triton(at, state_dir),
        _ray(options, at, state_dir),
    ]
    services = [_service(name, options, at, state_dir) for name in SERVICES if name not in options.leave_out]
    wanted = [part for part in (*engines, *options.extra_parts, *services) if part.name not in options.leave_out]
    return [
        replace(part, environment={**part.environment, **options.environment.get(part.name, {})}) for part in wanted
    ]


def clickhouse_command(path: Path, port: int) -> tuple[str, ...]:
    """The command line of the ClickHouse engine's HTTP interface."""
    return (sys.executable, "-m", "deploy.local.clickhouse", "--path", str(path), "--port", str(port))


def teacher_is_set(options: StackOptions) -> bool:
    """Whether anything says where the teacher is or how to be let in there; so where no gateway asks for one."""
    given = _teacher(options) | dict(options.environment.get("gateway", {}))
    named = given.get("TEACHER_BASE_URL") or os.environ.get("TEACHER_BASE_URL") or given.get("TEACHER_API_KEY")
    return bool(named) or "gateway" in options.leave_out


def said(part: str, options: StackOptions) -> dict[str, str]:
    """The settings that a part finds beside those that the stack gives it."""
    return {**os.environ, **options.environment.get(part, {})}


def _broker(options: StackOptions, at: Addresses, state_dir: Path) -> Part:
    settings, kept = KafkaSettings(kafka_bootstrap_servers=at.kafka), state_dir / "topics.jsonl"

    def fill() -> None:
        create_topics(settings, options.topic_partitions)
        leaving.bring_back(settings, kept)

    return Part(
        "broker",
        tuple(broker.command(at.port("kafka"))),
        partial(ready.accepts, at.kafka),
        once_ready=fill,
        before_stop=partial(leaving.put_down, settings, kept),
    )


def _clickhouse(at: Addresses, state_dir: Path) -> Part:
    argv = clickhouse_command(state_dir / "clickhouse", at.port("clickhouse_url"))
    return Part("clickhouse", argv, partial(ready.answers_http, f"{at.clickhouse_url}/ping"))


def _triton(at: Addresses, state_dir: Path) -> Part:
    repository, backends = state_dir / "triton" / "models", state_dir / "triton" / "backends"
    ports = (at.port("triton_grpc"), at.port("triton_http"), at.port("triton_metrics"))

    def prepare() -> None:
        repository.mkdir(parents=True, exist_ok=True)
        triton.assemble_backends(backends)

    return Part(
        "triton",
        tuple(triton.command(repository, backends, *ports)),
        partial(ready.answers_http, f"http://{at.triton_http}/v2/health/ready"),
        triton.environment(),
        prepare,
    )


def _ray(options: StackOptions, at: Addresses, state_dir: Path) -> Part:
    folder = ray_head.folder(state_dir)
    argv = ray_head.command(at.port("ray_address"), at.port("ray_node"), folder, options.cpus)

    def prepare() -> None:
        ray_head.make_folder(folder)
        ray_head.make_token(state_dir)

    return Part(
        "ray",
        tuple(argv),
        lambda: ready.says(state_dir / "logs" / "ray.log", ray_head.STARTED) and ready.accepts(at.ray_node),
        ray_head.environment(state_dir),
        prepare,
    )


def _service(name: str, options: StackOptions, at: Addresses, state_dir: Path) -> Part:
    metrics: str = vars(at)[f"{name}_metrics"]
    common = at.environment() | ray_head.environment(state_dir) | _folders(state_dir)
    own = {"TASKS_DIR": str(options.tasks_dir.resolve()), "METRICS_LISTEN": metrics}
    serves = {"gateway": at.gateway, "controller": at.control}.get(name)
    is_up = partial(ready.answers_http, f"http://{metrics}/metrics")
    if serves:
        is_up = partial(ready.serves_grpc, serves, trusting.credentials(name, said(name, options)))
    kafka = KafkaSettings(kafka_bootstrap_servers=at.kafka)
    return Part(
        name,
        (sys.executable, "-m", f"services.{name}"),
        is_up,
        common | own | (_teacher(options) if name == "gateway" else {}) | _listens(name, at),
        before_stop=partial(leaving.await_read, kafka, name, READS[name]) if name in READS else None,
    )


def _listens(name: str, at: Addresses) -> dict[str, str]:
    gateway = {"GATEWAY_LISTEN": at.gateway, "HTTP_LISTEN": at.gateway_http, "CONTROLLER_ADDRESS": at.control}
    return {"gateway": gateway, "controller": {"CONTROL_LISTEN": at.control}}.get(name, {})


def _folders(state_dir: Path) -> dict[str, str]:
    return {
        "SPOOL_DIR": str(state_dir / "spool"),
        "SNAPSHOTS_DIR": str(state_dir / "snapshots"),
        "RUNS_DIR": str(state_dir / "runs"),
        "SAMPLER_DATA_DIR": str(state_dir / "sampler"),
        "TRITON_REPOSITORY": str(state_dir / "triton" / "models"),
        "TRITON_CONFIG_TEMPLATE": str(Path(deploy.__path__[0]) / "triton" / "config.pbtxt"),
    }


def _teacher(options: StackOptions) -> dict[str, str]:
    key = options.teacher_api_key or os.environ.get("TEACHER_API_KEY", "")
    given = {"TEACHER_BASE_URL": options.teacher_base_url, "TEACHER_API_KEY": key}
    return {name: value for name, value in given.items() if value}
