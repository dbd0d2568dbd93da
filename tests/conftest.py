"""What every test gets: no sockets in unit tests, and the real engines for those that ask."""

import pytest
from pytest_socket import disable_socket, enable_socket

pytest_plugins = ["tests.fixtures.engines", "tests.fixtures.students"]


@pytest.fixture(autouse=True)
def _unit_tests_open_no_sockets(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("contract") or request.node.get_closest_marker("end_to_end"):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)  # asyncio's own loop needs a socket pair
