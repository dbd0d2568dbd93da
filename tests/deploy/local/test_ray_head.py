import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import ray_head
from deploy.local.options import StackOptions
from deploy.local.parts import ENGINES, SERVICES
from deploy.local.stack import Stack

FINISHING = """
import os, sys
from training import launch
from training.config import Config

def fail():
    raise ValueError("what went wrong")

config = Config(base_model="none")
print(launch._there(sys.argv[1], config, lambda: os.getpid()) != os.getpid())
try:
    launch._there(sys.argv[1], config, fail)
except ValueError as error:
    print(error)
"""


def test_a_long_temporary_folder_is_not_used_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/a" * 40)
    assert str(ray_head.folder(tmp_path).parent) == "/tmp"  # noqa: S108 - what it falls back to
    assert ray_head.folder(tmp_path) == ray_head.folder(tmp_path) != ray_head.folder(tmp_path / "other")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    running = Stack.start(StackOptions(tmp_path, leave_out=frozenset({*ENGINES, *SERVICES} - {"ray"})))
    yield running
    running.stop()
    shutil.rmtree(ray_head.folder(tmp_path))


@pytest.mark.contract
def test_a_ray_head_listens_on_loopback_alone_and_leaves_nothing_running(stack: Stack) -> None:
    leader = stack.identity("ray").process()
    assert leader is not None
    members = [leader, *leader.children(recursive=True)]
    listening = {
        found.laddr for member in members for found in member.net_connections("tcp") if found.status == "LISTEN"
    }
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert {stack.addresses.port("ray_address"), stack.addresses.port("ray_node")} <= {at.port for at in listening}
    stack.stop()
    assert not psutil.wait_procs(members, timeout=10)[1]


@pytest.mark.contract
def test_what_follows_training_is_done_by_a_process_of_the_cluster_and_its_error_is_told_here(
    stack: Stack,
) -> None:
    """In a process of its own, as Ray reads its environment but once."""
    command = [sys.executable, "-c", FINISHING, stack.addresses.ray_address]
    environment = os.environ | stack.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["True", "what went wrong"]
