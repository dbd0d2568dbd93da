"""What every test gets: no sockets in unit tests, and the real engines for those that ask."""

from typing import Final

import hypothesis
import pytest
from pytest_socket import disable_socket, enable_socket
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.fixtures.engines", "tests.fixtures.tables", "tests.fixtures.students"]
hypothesis.settings.register_profile("tests", deadline=None)  # no test is about how busy the machine is
hypothesis.settings.load_profile("tests")

TRAINING: Final = ("tests/end_to_end/", "tests/training/test_launch.py")
"""What trains or runs the whole stack, and so wants all processors for minutes."""


class ByFile(LoadFileScheduling):
    """For two workers: file by file, and what trains at the end, by one of them alone."""

    def _split_scope(self, nodeid: str) -> str:
        return "training" if nodeid.startswith(TRAINING) else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.nodeid.startswith(TRAINING))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _unit_tests_open_no_sockets(request: pytest.FixtureRequest) -> None:
    if any(request.node.get_closest_marker(mark) for mark in ("contract", "end_to_end", "drill", "quick_drill")):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)  # asyncio's own loop needs a socket pair
