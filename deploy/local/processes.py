"""Processes known by pid and start time, so that a pid that was given away again is never hit.

Every part leads a session of its own: whatever it starts can be found by the session's number, also after the part
itself has gone.
"""

import os
from collections.abc import Callable
from contextlib import suppress

import psutil
from pydantic import BaseModel, ConfigDict
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

_SAME_START_S = 2.0  # The kernel counts from boot, so a corrected clock shifts what it tells.


class Identity(BaseModel):
    """A process: its pid and when it was started, seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The process, if it still runs; a zombie has ended."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _SAME_START_S
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        return None


def identity(pid: int) -> Identity:
    """Who has this pid now. psutil.NoSuchProcess if nobody."""
    return Identity(pid=pid, started=psutil.Process(pid).create_time())


def wait_until(condition: Callable[[], bool], within_s: float, every_s: float = 0.05) -> bool:
    """Whether the condition came true within the time."""
    asked = Retrying(
        retry=retry_if_result(lambda met: not met),
        stop=stop_after_delay(within_s),
        wait=wait_fixed(every_s),
        retry_error_callback=lambda _: False,
    )
    return bool(asked(condition))


def kill_session(leader: Identity) -> None:
    """Kills what is left of a leader's session at once."""
    for member in _session(leader):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    wait_until(lambda: not _session(leader), within_s=5)


def stop_session(leader: Identity, grace_s: float) -> None:
    """Asks a leader to end, waits for it, then kills what is left of its session."""
    if (process := leader.process()) is not None:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
        wait_until(lambda: leader.process() is None, grace_s)
    kill_session(leader)


def _session(leader: Identity) -> list[psutil.Process]:
    """The running members of the session; none if the leader's pid belongs to another process by now."""
    if psutil.pid_exists(leader.pid) and not _is_or_was(leader):
        return []
    return [process for process in psutil.process_iter() if _belongs(process, leader.pid)]


def _is_or_was(leader: Identity) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(abs(psutil.Process(leader.pid).create_time() - leader.started) < _SAME_START_S)
    return True


def _belongs(process: psutil.Process, session: int) -> bool:
    with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
        return os.getsid(process.pid) == session and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
