"""deploy/compose.yaml: what can be known of it without a container engine, and its syntax where there is one."""

import hashlib
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.kafka import MAX_MESSAGE_BYTES
from tests.deploy.known_settings import module_of, variables

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
DECLARED: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"]
OURS = {name: service for name, service in SERVICES.items() if service.get("build", {}).get("args")}
PUBLISHED = [(name, port) for name, service in SERVICES.items() for port in service.get("ports", [])]
VOLUMES = [(name, volume) for name, service in SERVICES.items() for volume in service.get("volumes", [])]
SECRETS = {
    "TEACHER_API_KEY",
    "CONTROL_TOKEN",
    "CLICKHOUSE_PASSWORD",
    "CLICKHOUSE_GRAFANA_PASSWORD",
    "GF_SECURITY_ADMIN_PASSWORD",
}


def test_all_six_programs_are_there() -> None:
    assert set(OURS) == {"topics", "gateway", "intake", "sink", "sampler", "controller"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_services_that_exist(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], f"{other} tells no health"


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_only_variables_that_it_reads(name: str) -> None:
    assert set(OURS[name]["environment"]) <= variables(module_of(OURS[name]["command"]))


@pytest.mark.parametrize("name", OURS)
def test_an_image_is_made_of_extras_that_exist(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(OURS[name]["build"]["args"]["EXTRA"].split(",")) <= set(extras)


@pytest.mark.parametrize(("name", "port"), PUBLISHED)
def test_a_port_is_published_on_loopback_alone(name: str, port: str) -> None:
    assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_comes_from_the_environment_and_has_no_default(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if (
            variable == "GATEWAY_API_KEY"
        ):  # It can't be made before the system runs, and is needed only where asked for.
            assert value == "${GATEWAY_API_KEY:-}"
        elif variable in SECRETS or re.search("PASSWORD|SECRET|KEY$", variable):
            assert re.fullmatch(r"\$\{\w+:\?.+\}", value), f"{variable} must be required, and from .env"


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "image" in service])
def test_a_foreign_image_has_a_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", SERVICES[name]["image"])


@pytest.mark.parametrize(("name", "volume"), VOLUMES)
def test_a_volume_is_declared_or_a_file_that_is_there(name: str, volume: str) -> None:
    source = volume.split(":", maxsplit=1)[0]
    assert (DEPLOY / source).exists() if source.startswith(".") else source in DECLARED


def test_our_user_owns_every_folder_that_our_images_write_to() -> None:
    ours = [v for name, v in VOLUMES if name in {*OURS, "triton"} and not v.endswith(":ro")]
    assert {volume.split(":")[1] for volume in ours} == {"/data", "/models"}
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "--home-dir /data --create-home tutelage" in dockerfile
    for path in ("Dockerfile", "Dockerfile.triton"):
        text = (DEPLOY / path).read_text()
        assert "mkdir /models && chown tutelage:tutelage /models" in text
        assert "useradd --uid 10001" in text
        assert "\nUSER 10001:10001\n" in text


def test_the_tasks_are_mounted_where_the_image_looks_for_them() -> None:
    looked_for = re.search(r"TASKS_DIR=(\S+)", (DEPLOY / "Dockerfile").read_text())
    mounted = {volume.split(":")[1] for _, volume in VOLUMES if volume.startswith("./tasks:")}
    assert looked_for is not None
    assert mounted == {looked_for[1]}


@pytest.mark.parametrize("path", ["Dockerfile", "Dockerfile.triton"])
def test_everything_that_an_image_copies_is_there(path: str) -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / path).read_text(), re.MULTILINE)
    assert copies
    assert [source for line in copies for source in line.split() if not (ROOT / source).exists()] == []


def test_kafka_takes_the_largest_message_that_we_send() -> None:
    assert SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"] == MAX_MESSAGE_BYTES


def test_the_sampler_expects_as_many_partitions_as_the_topics_get() -> None:
    command = SERVICES["topics"]["command"]
    assert SERVICES["sampler"]["environment"]["SAMPLER_PARTITIONS"] == command[command.index("--partitions") + 1]


def test_prometheus_asks_every_service_where_it_answers() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    asked = {target for job in jobs for part in job["static_configs"] for target in part["targets"]}
    ports = {
        name: service["environment"].get("METRICS_LISTEN", "").rpartition(":")[2] for name, service in OURS.items()
    }
    assert asked == {f"{name}:{port}" for name, port in ports.items() if port} | {"triton:8002"}


def test_grafanas_user_is_made_whatever_its_password_is(tmp_path: Path) -> None:
    password = r"""it's \ "$HOME" `x` ${y}"""
    client = tmp_path / "clickhouse-client"
    client.write_text("#!/bin/sh\ncat\n")
    client.chmod(0o755)
    secrets = {"CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "p", "CLICKHOUSE_GRAFANA_PASSWORD": password}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = [str(DEPLOY / "clickhouse" / "grafana-user.sh")]
    sql = subprocess.run(script, env={"PATH": path, **secrets}, capture_output=True, text=True, check=True).stdout
    assert f"IDENTIFIED WITH sha256_hash BY '{hashlib.sha256(password.encode()).hexdigest()}'" in sql


def test_compose_itself_accepts_the_file() -> None:
    known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) if _docker() else None
    if known is None or known.returncode:
        pytest.skip("docker compose is not on this machine")
    given = dict.fromkeys(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()), "x")
    argv = ["docker", "compose", "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(argv, env={**os.environ, **given}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _docker() -> bool:
    return any((Path(folder) / "docker").exists() for folder in os.get_exec_path())
