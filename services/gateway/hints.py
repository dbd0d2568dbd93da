"""When a caller may come again, as gRPC's clients look for it: trailing metadata of a call that was refused."""

import math

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

RETRY_AFTER = "retry-after"
"""Whole seconds, as HTTP's header of that name; 0 is at once."""
STATUS = "grpc-status-details-bin"
"""Where gRPC's libraries look for a google.rpc.Status; its RetryInfo tells the same with fractions of seconds."""


def trailers(code: grpc.StatusCode, text: str, retry_after_s: float | None) -> tuple[tuple[str, str | bytes], ...]:
    """None where nobody knows when it is worth while."""
    if retry_after_s is None:
        return ()
    delay, detail = Duration(), Any()
    delay.FromMilliseconds(math.ceil(retry_after_s * 1000))
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    told = status_pb2.Status(code=code.value[0], message=text, details=[detail])
    return (RETRY_AFTER, str(math.ceil(retry_after_s))), (STATUS, told.SerializeToString())
