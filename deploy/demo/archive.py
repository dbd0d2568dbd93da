"""The archive with the demo's data: the source distribution of `usaddress` 0.5.16 (MIT licence, 1 MB).

It is fetched by pip, so the user's own mirrors and proxies apply, checked against a fixed SHA-256 and cached.
Nothing of it is installed or imported. Other archives of a package index are had in the same way (`fetched`).
"""

import hashlib
import importlib.util
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = "0.5.16"
SHA256: Final = "f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6"
ARCHIVE: Final = f"usaddress-{VERSION}.tar.gz"
FETCH_TIMEOUT_S: Final = 180


class DataUnavailableError(Exception):
    """The archive could not be had, or is not the one that it should be; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One file of a package index: a source distribution, or a wheel."""

    package: str
    version: str
    file: str
    sha256: str

    @property
    def options(self) -> list[str]:
        """What pip is told, so that it takes this file and no other."""
        wheel = self.file.endswith(".whl")
        return [*([] if wheel else ["--no-build-isolation"]), f"--{'only' if wheel else 'no'}-binary", self.package]


def fetch(cache_dir: Path) -> Path:
    """The checked archive in `cache_dir`, from the package index where it is not there yet."""
    return fetched(Source("usaddress", VERSION, ARCHIVE, SHA256), cache_dir)


def fetched(source: Source, cache_dir: Path) -> Path:
    """The same of any source. Raises DataUnavailableError."""
    archive = cache_dir / source.file
    if not archive.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        _download(source, archive)
    if (found := sha256(archive)) != source.sha256:
        raise DataUnavailableError(f"{archive} has SHA-256 {found}, not {source.sha256}: remove it and try again")
    return archive


def sha256(file: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def member(archive: Path, name: str) -> bytes:
    """A file of the archive, by its name in the folder `training`."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"usaddress-{VERSION}/training/{name}")
        if file is None:
            raise DataUnavailableError(f"{archive} holds no training/{name}")
        return file.read()


def _download(source: Source, archive: Path) -> None:
    """By pip, which checks the hash before it lets the archive's setup.py state its name; nothing is built."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        pin = f"{source.package}=={source.version}"
        requirements.write_text(f"{pin} --hash=sha256:{source.sha256}\n", encoding="utf-8")
        options = ["--quiet", "--no-deps", *source.options, "--require-hashes"]
        done = _run([*_pip(), "download", *options, "-r", str(requirements), "-d", scratch])
        if done.returncode or not (Path(scratch) / source.file).exists():
            said = "\n".join(done.stderr.strip().splitlines()[-6:])
            raise DataUnavailableError(
                f"pip could not fetch {pin}: check the network and pip's index, or put the archive with "
                f"SHA-256 {source.sha256} at {archive}. pip said:\n{said}"
            )
        (Path(scratch) / source.file).replace(archive)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _pip() -> list[str]:
    """The environment's own pip; one lent by uv where uv made the environment."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    uv = [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else ["uv"]
    return [*uv, "run", "--no-project", "--with", "pip", "--with", "setuptools", "python", "-m", "pip"]
