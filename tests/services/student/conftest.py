"""A real Triton with the tiny students in it, under the project's own config.pbtxt."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import ready, triton
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part
from services.pruning import Rule
from tests.fixtures.engines import started
from tests.fixtures.students import install

UNREAD = Rule(head="Take it apart: ", lines=("Never guess what is not there.",), tail=" That is all.")


@dataclass(frozen=True)
class Server:
    """Where it listens, and its model repository: `tiny`, `narrow` with one place and one waiting, `pruned`, whose
    prompts are without UNREAD, and `tagger`."""

    grpc: str
    metrics_url: str
    repository: Path


@pytest.fixture(scope="package")
def triton_server(tiny_student: Path, tiny_tagger: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("students")
    repository = directory / "models"
    install(tiny_student, repository, "tiny", cancel_check_s="0.01")
    install(tiny_student, repository, "narrow", max_running="1", max_waiting="1")
    install(tiny_student, repository, "pruned")
    described = repository / "pruned" / "1" / "student.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"pruning": UNREAD.model_dump()}))
    install(tiny_tagger, repository, "tagger")
    grpc, http, metrics = free_ports(3)
    command = triton.command(repository, triton.assemble_backends(directory / "backends"), grpc, http, metrics)
    health = f"http://{HOST}:{http}/v2/health/ready"
    part = Part("triton", tuple(command), lambda: ready.answers_http(health), triton.environment())
    with started(part, directory / "log"):
        yield Server(f"{HOST}:{grpc}", f"http://{HOST}:{metrics}/metrics", repository)
