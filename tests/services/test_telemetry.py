"""What a service says as it starts, and where its metrics are."""

import json
import subprocess
import sys

import httpx
import pytest

pytestmark = pytest.mark.contract
SERVICE = "from services import telemetry; telemetry.start('test', 'info', '127.0.0.1:0'); input()"


def test_the_port_that_metrics_took_is_told_in_the_log() -> None:
    command = (sys.executable, "-c", SERVICE)  # One of its own: the log's settings are the process's.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        told = json.loads(service.stderr.readline())
        assert (told["event"], told["listen"]) == ("metrics are served", "127.0.0.1:0")
        assert "python_info" in httpx.get(f"http://127.0.0.1:{told['port']}/metrics").text
        service.communicate("\n")
