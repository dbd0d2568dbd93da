"""The programs of protos/README.md, run as they stand there against a gateway, with the .proto files alone."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from protos import inference_pb2 as inference
from services.topics import decode
from tests.services.gateway.conftest import Gateway, gateway, settings  # noqa: F401 - fixtures
from tests.services.gateway.examples import a_task

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "protos/README.md").read_text(encoding="utf-8")
FEEDBACK = '{"number":"700","street":"W. Madison","unit":"# 4","city":"Chicago","state":"IL"}'
pytestmark = [pytest.mark.contract, pytest.mark.timeout(900)]


def needs(*programs: str) -> pytest.MarkDecorator:
    lacking = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)} is not on this machine")


def section(language: str) -> str:
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[["", "TypeScript", "Go", "Java"].index(language)]


def block(language: str, fence: str) -> str:
    [found] = re.findall(rf"```{fence}\n(.*?)```", section(language), re.DOTALL)
    return str(found).replace("address-extraction", a_task().name)


def saved(caller: Path, language: str, *fences: str) -> None:
    """The page's programs, under the names in their first lines."""
    for fence in fences:
        text = block(language, fence)
        name = re.findall(r"[\w.]+", text.splitlines()[0])[0]
        (caller / name).write_text(text)


@pytest.fixture
def caller(tmp_path: Path) -> Path:
    """A folder with nothing but the .proto files."""
    (tmp_path / "protos").mkdir()
    for proto in (REPOSITORY / "protos").glob("*.proto"):
        shutil.copy(proto, tmp_path / "protos")
    return tmp_path


async def runs(caller: Path, gateway: Gateway, language: str) -> list[str]:  # noqa: F811
    """The lines printed by the page's commands, asked of this gateway."""
    tools = caller / "tools"
    tools.mkdir()
    (tools / "protoc").write_text(f'#!/bin/sh\nexec {sys.executable} -m grpc_tools.protoc "$@"\n')
    (tools / "protoc").chmod(0o755)
    script = block(language, "sh").replace("127.0.0.1:50051", f"127.0.0.1:{gateway.port}")
    variables = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", script, cwd=caller, env=variables, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)  # Maven's last word is a change of colour.
    return [line for line in plain.splitlines() if line]


def check(gateway: Gateway, printed: list[str]) -> None:  # noqa: F811
    answered, streamed, feedback = printed[-3:]
    assert answered.startswith("the teacher says so")
    assert streamed == "the teacher says so"
    (record,) = gateway.spool.records
    assert feedback == f"feedback {decode(record).id}"
    assert decode(record).correction == FEEDBACK
    assert [exchange.reply.answered_by for exchange in gateway.spool.exchanges] == [inference.BACKEND_TEACHER] * 2


@needs("node", "npm")
async def test_typescript(caller: Path, gateway: Gateway) -> None:  # noqa: F811
    saved(caller, "TypeScript", "ts")
    check(gateway, await runs(caller, gateway, "TypeScript"))


@pytest.mark.drill
@needs("go")
async def test_go(caller: Path, gateway: Gateway) -> None:  # noqa: F811
    saved(caller, "Go", "go")
    check(gateway, await runs(caller, gateway, "Go"))


@pytest.mark.drill
@needs("java", "mvn")
async def test_java(caller: Path, gateway: Gateway) -> None:  # noqa: F811
    saved(caller, "Java", "xml", "java")
    check(gateway, await runs(caller, gateway, "Java"))
