"""TLS, on both sides, from files: a server's certificate, who may call it, and how a caller knows the server.

Certificates are renewed by replacing their files: a server looks at them at every handshake and takes new ones up, and
one that can't be read or does not fit leaves the old one in use.
"""

import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import grpc

log = logging.getLogger(__name__)
Stamp = tuple[tuple[int, int, int], ...]
T = TypeVar("T")


@dataclass(frozen=True)
class ServerFiles:
    """A server's PEM files: its certificate with what leads to the root, its key, and the roots of callers' own.

    With `client_ca` a caller must have a certificate (mTLS). `prefix`: what the settings' names begin with, in errors.
    """

    cert: Path
    key: Path
    client_ca: Path | None
    prefix: str

    def named(self) -> Iterator[tuple[str, Path]]:
        """Each file with its setting."""
        yield f"{self.prefix}_CERT", self.cert
        yield f"{self.prefix}_KEY", self.key
        if self.client_ca:
            yield f"{self.prefix}_CLIENT_CA", self.client_ca

    def stamp(self) -> Stamp:
        """Another one when a file was replaced, also by the swapped link of a Kubernetes secret. Raises OSError."""
        looked = (path.stat() for _, path in self.named())
        return tuple((found.st_mtime_ns, found.st_ino, found.st_size) for found in looked)


def server_files(prefix: str, cert: Path | None, key: Path | None, client_ca: Path | None) -> ServerFiles | None:
    """The files that the settings name; None where they name none. Raises ValueError where one lacks the other."""
    if cert and key:
        return ServerFiles(cert, key, client_ca, prefix)
    if cert or key or client_ca:
        raise ValueError(f"{prefix}_CERT and {prefix}_KEY go together, and {prefix}_CLIENT_CA only with them")
    return None


def context(files: ServerFiles, speaks: Sequence[str]) -> ssl.SSLContext:
    """For a server on asyncio that speaks these protocols (ALPN); it takes up new files.

    Raises ValueError naming the setting where the present ones are no good.
    """
    renewal = _Renewal(files, lambda: _context(files, speaks))
    latest = renewal.first

    def renew(connection: ssl.SSLObject, _name: str, _first: ssl.SSLContext) -> None:
        nonlocal latest
        latest = connection.context = renewal() or latest

    renewal.first.sni_callback = renew  # It is asked at every handshake, also where no name is told.
    return renewal.first


def _context(files: ServerFiles, speaks: Sequence[str]) -> ssl.SSLContext:
    _readable(files.named())
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(list(speaks))
    _load_pair(made, files.cert, files.key, f"{files.prefix}_CERT and {files.prefix}_KEY")
    if files.client_ca:
        _load_roots(made, f"{files.prefix}_CLIENT_CA", files.client_ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def server_credentials(files: ServerFiles) -> grpc.ServerCredentials:
    """gRPC's, which take up new files. Raises ValueError naming the setting where the present ones are no good."""
    renewal = _Renewal(files, lambda: _configuration(files))
    mutual = files.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(renewal.first, renewal, require_client_authentication=mutual)


class _Renewal(Generic[T]):
    """What is asked at every handshake, gRPC's on a thread: what the new files make, None where they are the same."""

    def __init__(self, files: ServerFiles, make: Callable[[], T]) -> None:
        self._files = files
        self._make = make
        self.first = make()
        self._stamp = files.stamp()

    def __call__(self) -> T | None:
        try:
            if (stamp := self._files.stamp()) == self._stamp:
                return None
            self._stamp = stamp
            renewed = self._make()
        except (OSError, ValueError) as error:
            log.error("TLS: the files that are there now are no good, the old ones stay in use: %s", error)  # noqa: TRY400
            return None
        log.info("TLS: new certificates are in use: %s", self._files.cert)
        return renewed


def _configuration(files: ServerFiles) -> grpc.ServerCertificateConfiguration:
    _context(files, ())  # gRPC itself would say at the first handshake that they do not fit, and to nobody.
    pair = (files.key.read_bytes(), files.cert.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], files.client_ca.read_bytes() if files.client_ca else None)


@dataclass(frozen=True)
class Trust:
    """How a caller knows a server, and is known to it. `ca` None takes the roots that gRPC comes with."""

    prefix: str
    on: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """gRPC's; None without TLS. Raises ValueError naming the setting that is no good."""
        if not (self.on or self.ca or self.cert or self.key):
            return None
        if bool(self.cert) != bool(self.key):
            raise ValueError(f"{self.prefix}_CLIENT_CERT and {self.prefix}_CLIENT_KEY go together")
        named = (("CA", self.ca), ("CLIENT_CERT", self.cert), ("CLIENT_KEY", self.key))
        _readable((f"{self.prefix}_{name}", path) for name, path in named if path)
        return grpc.ssl_channel_credentials(
            *(path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        )

    def context(self) -> ssl.SSLContext:
        """Python's; without `ca` by the system's roots. Raises ValueError naming the setting that is no good."""
        made = ssl.create_default_context()
        if self.ca:
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            _load_roots(made, f"{self.prefix}_CA", self.ca)
        if self.cert and self.key:
            _load_pair(made, self.cert, self.key, f"{self.prefix}_CLIENT_CERT and {self.prefix}_CLIENT_KEY")
        return made


def check_they_agree(files: ServerFiles, trust: Trust, host: str) -> None:
    """That a caller with this trust and a server with these files get on with one another, the server being at `host`.

    They shake hands in memory. Raises ValueError naming the settings that do not fit.
    """
    to_server, to_caller, prefix = ssl.MemoryBIO(), ssl.MemoryBIO(), files.prefix
    server = _context(files, ()).wrap_bio(to_server, to_caller, server_side=True)
    caller = trust.context().wrap_bio(to_caller, to_server, server_hostname=host)
    by_caller = f"{prefix}_CERT={files.cert} is not what a caller of {host} trusts by {prefix}_CA"
    by_server = f"{prefix}_CLIENT_CERT={trust.cert} is not what {prefix}_CLIENT_CA={files.client_ca} lets in"
    for _ in range(3):  # As often as they have anything to say to one another.
        _shake(caller, by_caller)
        _shake(server, by_server)


def _shake(side: ssl.SSLObject, refusal: str) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return
    except ssl.SSLError as error:
        raise ValueError(f"{refusal}: {getattr(error, 'verify_message', '') or error.reason}") from error


def _readable(named: Iterator[tuple[str, Path]]) -> None:
    for name, path in named:
        try:
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"{name}={path} can't be read: {error.strerror}") from error


def _load_pair(made: ssl.SSLContext, cert: Path, key: Path, both: str) -> None:
    try:
        made.load_cert_chain(cert, key, password="")  # An encrypted key is an error, not a prompt.
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise ValueError(f"{both} are no pair in PEM without a password: {why}") from error


def _load_roots(made: ssl.SSLContext, name: str, path: Path) -> None:
    try:
        made.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{name}={path} holds no certificates in PEM: {error.reason}") from error


def listen(server: grpc.aio.Server, address: str, files: ServerFiles | None) -> int:
    """Have a server listen, over TLS where there are files for it; returns the port.

    Raises RuntimeError where the address can't be had, ValueError naming a setting that is no good.
    """
    if files is None:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, server_credentials(files)))
