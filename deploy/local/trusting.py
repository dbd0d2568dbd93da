"""How the stack itself asks a server of its own that speaks TLS, by the settings of its callers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc

from deploy.local.addresses import HOST
from services.tls import ServerFiles, Trust, check_they_agree, server_files

PREFIXES: Final[Mapping[str, str]] = {"gateway": "GATEWAY_TLS", "controller": "CONTROL_TLS"}
"""What the settings of a part's TLS begin with."""
_YES: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
"""As pydantic reads a setting."""


def credentials(part: str, said: Mapping[str, str]) -> grpc.ChannelCredentials | None:
    """By which `part` can be asked, given its environment; None where it speaks no TLS.

    Raises ValueError naming the setting that is lacking or no good: callers on this machine would get no answer either.
    """
    prefix = PREFIXES[part]
    cert, key, client_ca = (_path(said, f"{prefix}_{name}") for name in ("CERT", "KEY", "CLIENT_CA"))
    files = server_files(prefix, cert, key, client_ca)
    if files is None:
        return None
    trust = _trust(prefix, said)
    _check(files, trust)
    made = trust.credentials()
    check_they_agree(files, trust, HOST)
    return made


def _trust(prefix: str, said: Mapping[str, str]) -> Trust:
    paths = (_path(said, f"{prefix}_{name}") for name in ("CA", "CLIENT_CERT", "CLIENT_KEY"))
    return Trust(prefix, said.get(prefix, "").lower() in _YES, *paths)


def _check(files: ServerFiles, trust: Trust) -> None:
    prefix = files.prefix
    if not (trust.on or trust.ca):
        raise ValueError(
            f"{prefix}_CERT is set, but not how callers on this machine know it: set {prefix}_CA to its root, a PEM "
            f"file, or {prefix}=true where everybody knows the root"
        )
    if files.client_ca and not trust.cert:
        raise ValueError(
            f"{prefix}_CLIENT_CA lets nobody in without a certificate: set {prefix}_CLIENT_CERT and "
            f"{prefix}_CLIENT_KEY, by which callers on this machine are known"
        )


def _path(said: Mapping[str, str], name: str) -> Path | None:
    return Path(said[name]) if said.get(name) else None
