"""The program that the README shows for calling the gateway, run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Demo

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]


def test_the_readmes_program_asks_streams_and_gives_feedback(demo: Demo, tmp_path: Path) -> None:
    [shown] = re.findall(r"```python\n(# call\.py.*?)```", Path("README.md").read_text(), re.DOTALL)
    program = tmp_path / "call.py"
    program.write_text(shown)
    gateway = demo.environment["GATEWAY_ADDRESS"]
    done = subprocess.run([sys.executable, program, gateway], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer, *_, feedback = done.stdout.strip().splitlines()
    assert re.search(r"\{.*\} BACKEND_(STUDENT|TEACHER) \d", answer)
    assert re.fullmatch(r"feedback [0-9a-f-]{36}", feedback)
