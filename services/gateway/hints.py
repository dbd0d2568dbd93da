"""Whether and when a caller may come again, as gRPC's clients look for it: trailing metadata of a refused call. Pure.

Clients repeat by themselves what looks as if it passed, and the gateway has asked again already: so they multiply. They
are told where a repeat is pointless.
"""

import math
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

RETRY_AFTER = "retry-after"
"""Whole seconds, as HTTP's header of that name; 0 is at once."""
STATUS = "grpc-status-details-bin"
"""Where gRPC's libraries look for a google.rpc.Status; its RetryInfo tells the same with fractions of seconds."""
PUSHBACK: Final = "grpc-retry-pushback-ms"
"""What gRPC's own retries obey (gRFC A6): after so many milliseconds; below 0 not at all."""
NEVER: Final = "-1"
SOONEST_MS: Final = 1
"""Told for at once: of 0 gRPC's C core (seen with 1.85.1) makes a repeat that never begins, so that a call with retries
hangs until its deadline."""
LONGEST_WAIT_S: Final = 60.0
"""A client that sleeps for longer within a call, say until a day's budget is a new one, helps nobody."""
FINAL: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.FAILED_PRECONDITION}
)
"""What clients repeat by themselves, and had better not where no wait is known: all were asked as often as helps, the
time was used up, or the answers were none that may be given."""


def is_pointless(code: grpc.StatusCode, retry_after_s: float | None) -> bool:
    """Whether a client had better not repeat such a call by itself."""
    return code in FINAL if retry_after_s is None else retry_after_s > LONGEST_WAIT_S


def trailers(
    code: grpc.StatusCode, text: str, retry_after_s: float | None, left_s: float | None = None
) -> tuple[tuple[str, str | bytes], ...]:
    """None where there is nothing to say. `left_s` until the caller's deadline: who would wait beyond it never asks."""
    if retry_after_s is None:
        return ((PUSHBACK, NEVER),) if is_pointless(code, None) else ()
    wait_ms, delay, detail = math.ceil(retry_after_s * 1000), Duration(), Any()
    delay.FromMilliseconds(wait_ms)
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    told = status_pb2.Status(code=code.value[0], message=text, details=[detail])
    in_vain = is_pointless(code, retry_after_s) or (left_s is not None and retry_after_s >= left_s)
    return (
        (RETRY_AFTER, str(math.ceil(retry_after_s))),
        (STATUS, told.SerializeToString()),
        (PUSHBACK, NEVER if in_vain else str(max(SOONEST_MS, wait_ms))),
    )
