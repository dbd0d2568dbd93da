"""How a gateway is reached: address, key, TLS, retries, and its errors as ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
TRIES: Final = 3
"""Of a call that ends UNAVAILABLE, by gRPC itself, with jitter, within its deadline: its request_id makes that safe."""
_RETRIES: Final = {
    "maxAttempts": TRIES,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICE: Final = json.dumps(
    {"methodConfig": [{"name": [{"service": "tutelage.v1.Inference"}], "retryPolicy": _RETRIES}]}
)
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", _SERVICE),
)


class TutelageError(Exception):
    """The gateway gave no answer. `code` is the contract, the text says what to change.

    `retry_after_s`: when it is worth asking again, where the gateway says so.
    """

    def __init__(self, code: grpc.StatusCode, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Gateway:
    """Where and as whom. Without `ca` the connection is plain; `certificate` and `private_key` are for mTLS."""

    address: str
    api_key: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Those of TLS; None for a plain connection. Raises OSError naming a file that can't be read."""
        if self.ca is None:
            return None
        key, certificate = (path.read_bytes() if path else None for path in (self.private_key, self.certificate))
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key, certificate)


@contextmanager
def translated() -> Iterator[None]:
    """gRPC's errors as TutelageError."""
    try:
        yield
    except grpc.RpcError as error:
        raise TutelageError(error.code(), error.details() or "", _retry_after_s(error)) from error


def _retry_after_s(error: Any) -> float | None:
    hint = next((value for key, value in error.trailing_metadata() or () if key == "retry-after"), None)
    return float(hint) if hint else None
