"""The `openai` package for JavaScript against the gateway, where Node.js is."""

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import create_subprocess_exec
from pathlib import Path
from typing import Any, Final

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, OnText
from tests.services.gateway.conftest import Gateway

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not here"),
]
PACKAGE: Final = "openai@6.49.0"
CALLS: Final = Path(__file__).parent / "openai_js" / "calls.mjs"
CALL: Final = inference.ToolCall(id="call_7", name="weather", arguments='{"city":"Bern"}')


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Path:
    """A folder with the package, kept from run to run."""
    folder = pytestconfig.cache.mkdir(f"npm-{PACKAGE}")
    if not (folder / "node_modules" / "openai").is_dir():
        quietly = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
        command = ("npm", "install", "--prefix", str(folder), *quietly, PACKAGE)
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if result.returncode:
            pytest.skip(f"npm can't install {PACKAGE} here")
    return folder


async def run(folder: Path, base_url: str) -> dict[str, Any]:
    node = await create_subprocess_exec("node", CALLS, folder, base_url, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(node.communicate(), 60)
    assert node.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told


def answers_as_asked(gateway: Gateway) -> None:
    """The teacher calls a tool where there are some, and answers in JSON where a schema is."""
    answer = gateway.teacher.answer

    async def as_asked(ask: Ask, on_text: OnText | None) -> events.Attempt:
        teacher, request = gateway.teacher, ask.request
        teacher.calls = (CALL,) if request.tools else ()
        teacher.finish = inference.FINISH_TOOL_CALLS if request.tools else inference.FINISH_STOP
        teacher.text = '{"street":"Main St"}' if request.response_schema else "the teacher says so"
        return await answer(ask, None if request.tools else on_text)

    gateway.teacher.answer = as_asked  # type: ignore[method-assign]


async def test_the_package_works_by_changing_its_base_url(gateway: Gateway, installed: Path) -> None:
    answers_as_asked(gateway)
    assert await run(installed, gateway.http_url) == {
        "chat": "the teacher says so",
        "answered_by": "teacher",
        "stream": ["the", " teacher", " says", " so"],
        "used": 104,
        "tools": [
            {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
        ],
        "helped": ['{"city":"Bern"}'],
        "parsed": {"street": "Main St"},
        "models": ["tutelage/say"],
        "model": "tutelage/say",
        "unknown": {"name": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"},
        "bad": {"name": "BadRequestError", "status": 400, "code": "invalid_value", "param": "n"},
    }
