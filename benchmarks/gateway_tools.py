"""What benchmarks.gateway brings from elsewhere: h2load, and the neighbours in environments of their own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CACHE: Final = Path("~/.cache/tutelage/gateway").expanduser()
PACKAGES: Final = ("nghttp2-client", "libnghttp2-14", "libev4", "libjansson4", "libjemalloc2", "libxml2")


@dataclass(frozen=True)
class Tool:
    """A program, and what its environment needs."""

    program: Path
    environment: dict[str, str] = field(default_factory=dict)


def h2load(cache: Path) -> Tool:
    """The load generator: the system's, or Debian's packages unpacked into the cache, for which nobody need be root.

    It drives gRPC and HTTP/1.1 alike and takes 20 us of a core for a call. ghz takes 300, more than who is measured.
    SystemExit says what to install where neither is to be had.
    """
    if found := shutil.which("h2load"):
        return Tool(Path(found))
    home = cache / "h2load"
    if not (program := home / "usr/bin/h2load").is_file():
        _unpack(home)
    libraries = ":".join(str(path.parent) for path in home.glob("usr/lib/**/libev.so.4"))
    return Tool(program, {"LD_LIBRARY_PATH": libraries})


def _unpack(home: Path) -> None:
    _say("fetching h2load")
    home.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=home, check=True, capture_output=True)
        for package in home.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, home], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        sys.exit("h2load is not here: install it (Debian, Ubuntu: apt-get install nghttp2-client; brew: nghttp2)")


def python(name: str, cache: Path) -> Path:
    """The interpreter of a neighbour's environment, of the same Python as ours; made anew where its pins change."""
    home, pins = cache / name, Path(__file__).with_name(f"gateway_{name}.txt")
    interpreter, made = home / "bin" / "python", home / "made"
    wanted = f"{sys.base_prefix} {sys.version}\n{pins.read_text()}"
    if not made.is_file() or made.read_text() != wanted:
        _say(f"making the environment of {name}")
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True)
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            interpreter,
            "-r",
            pins,
        ]
        subprocess.run(install, check=True)
        made.write_text(wanted)
    return interpreter


def path_of(interpreter: Path) -> str:
    """PATH with an environment's programs first."""
    return f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
