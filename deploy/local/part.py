"""One part of the stack: what starts it, how to know that it is ready, and its process while it runs."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.processes import Identity, identity, kill_session

_TAIL_LINES: Final = 20
_TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Part:
    """A program of the stack. `ready` is asked again and again and does not raise while the part comes up."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the environment of the stack itself."""
    prepare: Callable[[], object] | None = None
    """Done before each start."""
    once_ready: Callable[[], object] | None = None
    """Done after each start, before the next part is started."""
    before_stop: Callable[[], object] | None = None
    """Done before it is asked to end, if it runs."""
    ready_within_s: float = 90.0
    """Ray takes 8 s on an idle machine of two cores, and many times that on a busy one."""
    grace_s: float = 15.0
    """How long it may take to end when asked to. The gateway finishes open calls for 10 s."""


class Running:
    """A started part, in a session of its own: Ctrl-C in the terminal reaches the stack alone."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.started_s = time.monotonic()
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                part.argv,
                env={**inherited(), "PYTHONUNBUFFERED": "1", **part.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.identity: Identity = identity(self._child.pid)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def stop(self) -> None:
        """Asks it to end, waits, then kills what is left of it and of all that it started."""
        if self._child.poll() is None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(self.part.grace_s)
        self.kill()

    def kill(self) -> None:
        """Kills it and all that it started, at once."""
        kill_session(self.identity)
        self._child.wait()


def inherited() -> dict[str, str]:
    """The stack's own environment without the teacher's key: who needs it is given it."""
    return {name: value for name, value in os.environ.items() if name != "TEACHER_API_KEY"}


def tail(log: Path) -> str:
    """The last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
