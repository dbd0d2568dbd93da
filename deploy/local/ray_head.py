"""A Ray head on loopback alone."""

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.local.addresses import HOST, free_ports

_LOOPBACK_ALONE: Final = {
    # Ray turns 127.0.0.1 into the machine's outer address and then listens everywhere, without a password, unless it
    # takes the machine for one that can't be part of a cluster. Who connects to this head needs the same setting.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
STARTED: Final = "Ray runtime started"
"""What the head prints once it can take work; its ports are open earlier."""
_INNER_PORTS: Final = (
    *("--node-manager-port", "--object-manager-port", "--dashboard-agent-listen-port", "--dashboard-agent-grpc-port"),
    *("--runtime-env-agent-port", "--metrics-export-port", "--ray-client-server-port"),
)
_OBJECT_STORE_BYTES: Final = 512 * 2**20
# Ray puts sockets under `<folder>/session_<time>_<pid>/sockets/`, and a socket's path has 107 bytes at most.
_LONGEST_FOLDER: Final = 107 - 70


def environment(state_dir: Path) -> dict[str, str]:
    """The variables of the head and of whoever connects to it. Its token is made by `make_token`."""
    return _LOOPBACK_ALONE | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(_token(state_dir))}


def make_token(state_dir: Path) -> None:
    """A fresh secret that only this user can read."""
    path = _token(state_dir)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))


def _token(state_dir: Path) -> Path:
    return state_dir.resolve() / "ray.token"


def command(port: int, node_port: int, folder: Path, cpus: int) -> list[str]:
    """The head's command line. `port` is where clients connect, `node_port` where the node listens once it is up."""
    inner = zip(_INNER_PORTS, (node_port, *free_ports(len(_INNER_PORTS) - 1)), strict=True)
    options = [f"{name}={value}" for name, value in inner]
    head = ["start", "--head", "--block", "--disable-usage-stats", "--include-dashboard=false", "--log-color=false"]
    place = [f"--node-ip-address={HOST}", f"--port={port}", f"--temp-dir={folder}"]
    size = [f"--num-cpus={cpus}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
    return [str(Path(sys.prefix) / "bin" / "ray"), *head, *place, *options, *size]


def folder(state_dir: Path) -> Path:
    """A short path for Ray's sockets and logs, the same for the same state folder."""
    name = "tutelage-ray-" + hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:8]
    chosen = Path(tempfile.gettempdir()) / name
    return chosen if len(os.fsencode(chosen)) <= _LONGEST_FOLDER else Path("/tmp") / name  # noqa: S108 - made private


def make_folder(path: Path) -> None:
    """Makes the folder, empty of what an earlier head left. PermissionError if it is another user's."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; Ray's sockets would too")
