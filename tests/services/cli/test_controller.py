"""Who is away is told in words that a user can act on, and what the controller says stays as it said it."""

import grpc
import pytest

from services.cli.controller import controller
from services.cli.settings import CliSettings
from services.errors import Overloaded

FOUND = CliSettings(control_address="here:50052")


class Refused(grpc.RpcError):
    """An error of gRPC, as a call raises it."""

    def __init__(self, details: str) -> None:
        self.details = lambda: details


@pytest.mark.parametrize(
    ("details", "why"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote "
            "host: Connection refused",
            "Connection refused",
        ),
        ("errors resolving here:1: [field:hostname lookup error:failed for here:1: No such name]", "No such name"),
    ],
)
def test_an_address_at_which_nobody_answers_is_named_with_its_variable(details: str, why: str) -> None:
    with pytest.raises(Overloaded) as told, controller(FOUND):
        raise Refused(details)
    assert str(told.value) == f"the controller at here:50052 (CONTROL_ADDRESS) does not answer: {why}"


def test_what_the_controller_says_of_others_stays_as_it_is() -> None:
    said = "ClickHouse at http://here:8123 (CLICKHOUSE_URL) does not answer: Connection refused"
    with pytest.raises(Refused) as told, controller(FOUND):
        raise Refused(said)
    assert told.value.details() == said
