"""Training as a child process: started, waited for, stopped, and found again after the controller was killed.

The child has its own session, so it survives a killed controller. It locks its output directory: a second one, which
the restarted controller starts, waits for the first and then exits 0 at once, as the report is there.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

LAST_LINES: Final = 15
LAST_CHARACTERS: Final = 2_000
STOP_GRACE_S: Final = 20.0
"""For a checkpoint to be finished and Ray to leave; then it is killed, which a checkpoint survives as well."""


class Launcher:
    """Starts `python COMMAND JOB [--ray-address ADDRESS]` and waits for it; asks `python CHECK` about configs."""

    def __init__(self, command: Sequence[str], ray_address: str, check: Sequence[str] = ()) -> None:
        self._command, self._check = tuple(command), tuple(check)
        self._ray = ("--ray-address", ray_address) if ray_address else ()

    async def objection(self, config: Mapping[str, Any]) -> str:
        """Why training would refuse the config; '' if it would not, or if there is nobody to ask."""
        if not self._check:
            return ""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._check, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate(json.dumps(config).encode())
        return said.decode().strip()

    async def run(self, job: Path) -> int:
        """The exit status. Cancelled, it stops the child and those that earlier controllers left for this job."""
        with _opened(_log_of(job)) as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._command,
                str(job),
                *self._ray,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        _remember(job, process.pid)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await _stop(job, process)


def last_lines(job: Path) -> str:
    """The end of the child's output."""
    text = _log_of(job).read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.rstrip().splitlines()[-LAST_LINES:])[-LAST_CHARACTERS:]


async def _stop(job: Path, process: asyncio.subprocess.Process) -> None:
    _signal_all(job, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_GRACE_S)
    except TimeoutError:
        _signal_all(job, signal.SIGKILL)
        await process.wait()


def _signal_all(job: Path, number: signal.Signals) -> None:
    """Signal the session of every child of this job that still lives."""
    for pid in {int(line) for line in _pids_of(job).read_text(encoding="ascii").split()}:
        if _works_on(pid, job):
            with suppress(ProcessLookupError):
                os.killpg(pid, number)


def _works_on(pid: int, job: Path) -> bool:
    """Whether the process is one of ours: a number may have been given to another since."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return str(job).encode() in words


def _remember(job: Path, pid: int) -> None:
    with _pids_of(job).open("a", encoding="ascii") as pids:
        pids.write(f"{pid}\n")


def _opened(path: Path) -> IO[bytes]:
    return path.open("ab")


def _log_of(job: Path) -> Path:
    return job.with_name("launcher.log")


def _pids_of(job: Path) -> Path:
    return job.with_name("launcher.pids")
