"""What every test gets: no sockets in unit tests, and the real engines for those that ask."""

import atexit
import faulthandler
import sys
from typing import Final

import hypothesis
import pytest
from pytest_socket import disable_socket, enable_socket
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.fixtures.engines", "tests.fixtures.tables", "tests.fixtures.students"]
hypothesis.settings.register_profile("tests", deadline=None)  # no test is about how busy the machine is
hypothesis.settings.load_profile("tests")

WHOLE_STACK: Final = "tests/end_to_end/"
LONGEST: Final = "tests/training/test_launch.py"
LEAVES_WITHIN_S: Final = 60


class ByFile(LoadFileScheduling):
    """For two workers: file by file, but the tests that share one stack stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return WHOLE_STACK if nodeid.startswith(WHOLE_STACK) else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest begins; the whole stack, which wants all processors, runs at the end."""
    items.sort(key=lambda item: (item.nodeid.startswith(WHOLE_STACK), not item.nodeid.startswith(LONGEST)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """A worker that can't come to its end, as where grpc.aio waits for its own thread, shows where and is ended."""
    if hasattr(config, "workerinput"):
        atexit.register(faulthandler.dump_traceback_later, LEAVES_WITHIN_S, exit=True, file=sys.__stderr__)


@pytest.fixture(autouse=True)
def _unit_tests_open_no_sockets(request: pytest.FixtureRequest) -> None:
    if any(request.node.get_closest_marker(mark) for mark in ("contract", "end_to_end", "drill", "quick_drill")):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)  # asyncio's own loop needs a socket pair
