"""What every test gets: no sockets in unit tests, and the real engines for those that ask."""

import hypothesis
import pytest
from pytest_socket import disable_socket, enable_socket

pytest_plugins = ["tests.fixtures.engines", "tests.fixtures.tables", "tests.fixtures.students"]
hypothesis.settings.register_profile("tests", deadline=None)  # no test is about how busy the machine is
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _unit_tests_open_no_sockets(request: pytest.FixtureRequest) -> None:
    if any(request.node.get_closest_marker(mark) for mark in ("contract", "end_to_end", "drill", "quick_drill")):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)  # asyncio's own loop needs a socket pair
