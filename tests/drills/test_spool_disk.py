"""The spool's disk full while Kafka is away: calls are refused with a reason, and what was answered is kept."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import wait_until
from tests.drills import audit
from tests.drills.conftest import Holds
from tests.drills.world import World
from tests.fixtures.tools import excuse

DISK_MIB = 12
SPOOL_MAX_BYTES = 32 * 2**20  # Above the disk, so that it is the disk that ends first; an eighth of it is held free.

pytestmark = pytest.mark.drill


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few mebibytes. It takes root's rights to mount one."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        excuse("a full disk is drilled on a small tmpfs, and mounting one is not permitted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_refuses_calls_and_loses_no_answer(small_disk: Path, fresh: World, holds: Holds) -> None:
    fresh.start("gateway", SPOOL_DIR=str(small_disk / "spool"), SPOOL_MAX_BYTES=str(SPOOL_MAX_BYTES))
    fresh.start("sink")
    with fresh.load(rate_per_s=40, text_bytes=30_000):
        time.sleep(2)
        fresh.kafka.kill()
        assert wait_until(lambda: refused(fresh) > 20, 60, every_s=0.2)
        assert audit.metric(fresh, "gateway", "tutelage_spool_failed") == 1
        fresh.kill("gateway")
        fresh.restart("gateway")
        before = refused(fresh)
        assert wait_until(lambda: refused(fresh) > before + 20, 30, every_s=0.2)
        fresh.kafka.start()
        fresh.kafka.wait()
        answered = len(fresh.calls.answered)
        assert wait_until(lambda: len(fresh.calls.answered) > answered + 20, 60, every_s=0.2)
    found = holds(fresh)
    assert set(found.ended.values()) == {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    assert audit.metric(fresh, "gateway", "tutelage_spool_failed") == 0


def refused(world: World) -> int:
    return sum(status == "RESOURCE_EXHAUSTED" for status in list(world.calls.ended.values()))
