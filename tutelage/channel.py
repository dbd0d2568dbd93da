"""How a gateway is reached: address, key, TLS, retries, and its errors as ours."""

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

PemFile = str | os.PathLike[str]
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
TRIES: Final = 3
"""Of a call that ends UNAVAILABLE, by gRPC itself, with jitter, within its deadline: its request_id makes that safe.
Not where the gateway says that a repeat is pointless (`grpc-retry-pushback-ms`)."""
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
    """Where and as whom. Without PEM files the connection is plain; `certificate` and `private_key` are for mTLS."""

    address: str
    api_key: str = ""
    ca: PemFile | None = None
    certificate: PemFile | None = None
    private_key: PemFile | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Those of TLS; None for a plain connection.

        Raises ValueError for files that don't make TLS, as what was meant to be secret would go in clear, or that are
        no PEM, and OSError naming a file that can't be read.
        """
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together: give both, or neither")
        if self.ca is not None:
            key, certificate = _read("private_key", self.private_key), _read("certificate", self.certificate)
            roots = _read("ca", self.ca)
            _check(self.ca, self.certificate, self.private_key)
            return grpc.ssl_channel_credentials(roots, key, certificate)
        if self.certificate is not None:
            raise ValueError(
                "certificate and private_key need ca, the PEM file of who signed the gateway's certificate"
            )
        return None


def _read(name: str, path: PemFile | None) -> bytes | None:
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike) or "-----BEGIN" in os.fspath(
        path
    ):  # An OSError would tell a key's text.
        raise ValueError(f"{name} must be the path of a PEM file, not what is in it")
    return Path(path).read_bytes()


def _check(ca: PemFile, certificate: PemFile | None, private_key: PemFile | None) -> None:
    """gRPC would take anything, and fail at each call without a word of the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ValueError(f"ca: {os.fspath(ca)} holds no certificates in PEM") from error
    if certificate is None:
        return
    try:
        context.load_cert_chain(certificate, private_key, password="")  # An encrypted key is an error, not a prompt.
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("certificate and private_key are no pair in PEM without a password") from error


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
