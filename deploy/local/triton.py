"""Triton without a container: the real `tritonserver` and its Python backend, out of nvidia-pytriton's wheel."""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

_STUB = "triton_python_backend_stub"


def command(repository: Path, backends: Path, grpc_port: int, http_port: int, metrics_port: int) -> list[str]:
    """The server's command line: on loopback alone, models loaded only when asked for by name."""
    directories = ["--model-repository", str(repository), "--backend-directory", str(backends)]
    ports = {"grpc": grpc_port, "http": http_port, "metrics": metrics_port}
    listen = [part for name, port in ports.items() for part in _listen(name, port)]
    server = _wheel() / "tritonserver" / "bin" / "tritonserver"
    # Models end at once when the server does; half a minute's patience is for a server that drains.
    return [str(server), *directories, *listen, "--model-control-mode", "explicit", "--exit-timeout-secs", "5"]


def environment() -> dict[str, str]:
    """What the server needs in its environment; its models run in the Python of this process's environment.

    The stub finds its packages by the `python3` that it meets first on PATH; PYTHONPATH does not reach it.
    """
    libraries = [str(_wheel().parent / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    path = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]
    return {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "PATH": os.pathsep.join(path)}


def assemble_backends(directory: Path) -> Path:
    """Makes the Python backend's folder, with the stub of this Python version, and returns `directory`.

    The wheel keeps the stubs of several Pythons apart from the backend, and may have lost their run bit.
    """
    target = directory / "python"
    shutil.copytree(_wheel() / "tritonserver" / "backends" / "python", target, dirs_exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = target / _STUB
    stub.unlink(missing_ok=True)  # A stub that still runs can't be written over.
    shutil.copyfile(_wheel() / "tritonserver" / "python_backend_stubs" / version / _STUB, stub)
    stub.chmod(0o755)
    return directory


def _listen(name: str, port: int) -> list[str]:
    return [f"--{name}-address", "127.0.0.1", f"--{name}-port", str(port)]


def _wheel() -> Path:
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nvidia-pytriton is not installed: pip install 'tutelage[local]'")
    return Path(spec.origin).parent
