"""The controller as commands ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from protos import control_pb2 as pb
from protos import control_pb2_grpc as control_grpc
from services import client
from services.cli.settings import CliSettings
from services.errors import Overloaded

NO_CONNECTION: Final = ("failed to connect to all addresses", "DNS resolution failed", "errors resolving")
"""What gRPC itself says; what the controller says of others that are away stays as it is."""

KNOWN_S: Final = 10.0


@contextmanager
def controller(found: CliSettings) -> Iterator[control_grpc.ControlStub]:
    """A stub of the controller; its errors are grpc.RpcError, and Overloaded where none answers at the address."""
    try:
        with client.control(found) as stub:
            yield stub
    except grpc.RpcError as error:
        if not str(error.details()).startswith(NO_CONNECTION):
            raise
        why = str(error.details()).rpartition(":")[2].strip(" ]")  # Behind all the names of gRPC's own layers.
        raise Overloaded(
            f"the controller at {found.control_address} (CONTROL_ADDRESS) does not answer: {why}"
        ) from error


def check_known(found: CliSettings, task: str) -> None:
    """Where nothing is found of a task: raise what the controller says if there is none of that name."""
    with controller(found) as stub:
        stub.Status(pb.StatusRequest(task=task), timeout=KNOWN_S)
