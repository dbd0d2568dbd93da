"""The spool's disk full while Kafka is away: calls are refused with a reason, and what was answered is kept."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import wait_until
from tests.drills import audit
from tests.drills.conftest import Fails, Holds
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


def filled(world: World, disk: Path, build: str = "", within_s: float = 60.0, *, killed: bool = True) -> list[bool]:
    """Kafka away until the disk is full, then a killed gateway; whether calls were refused before it and after it."""
    world.start("gateway", build=build, SPOOL_DIR=str(disk / "spool"), SPOOL_MAX_BYTES=str(SPOOL_MAX_BYTES))
    world.start("sink")
    with world.load(rate_per_s=40, text_bytes=30_000):
        world.answers_again()
        world.kafka.kill()
        were_refused = [refuses(world, within_s)]
        if killed:
            world.kill("gateway")
            world.restart("gateway")
        were_refused.append(refuses(world, within_s / 2))
        world.kafka.start()
        world.kafka.wait()
        for _ in range(20):
            world.answers_again()
    return were_refused


def test_a_full_disk_refuses_calls_and_loses_no_answer(small_disk: Path, fresh: World, holds: Holds) -> None:
    assert filled(fresh, small_disk) == [True, True]
    found = holds(fresh)
    assert set(found.ended.values()) == {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    assert audit.metric(fresh, "gateway", "tutelage_spool_failed") == 0


def test_a_spool_that_takes_a_failed_write_for_a_good_one_loses_answers(
    small_disk: Path, shared: World, fails: Fails
) -> None:
    # Not killed: nobody could know the last number of what neither its disk nor Kafka ever had.
    heedless = "tests.drills.broken.gateway Heedless"
    assert filled(shared, small_disk, heedless, within_s=10, killed=False) == [False, False]
    shared.stop("gateway")  # While it runs, it may still send what it has numbered.
    fails(shared)


def refuses(world: World, within_s: float) -> bool:
    """Whether more calls are refused soon, for the reason that the metric shows."""
    before = refused(world)
    if not wait_until(lambda: refused(world) > before + 20, within_s, every_s=0.2):
        return False
    return audit.metric(world, "gateway", "tutelage_spool_failed") == 1


def refused(world: World) -> int:
    return sum(status == "RESOURCE_EXHAUSTED" for status in list(world.calls.ended.values()))
