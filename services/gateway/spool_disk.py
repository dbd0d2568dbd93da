"""What the spool holds of its disk: the directory, for this process alone, and room for a bad moment."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from services.telemetry import log


class SpoolInUse(Exception):  # noqa: N818
    """Another process holds the directory."""


class Reserve:
    """A file that holds room on the disk for calls already admitted, and whose making proves that the disk works.

    Given up when a write fails; `refusal` says why no call may be admitted until it is held again.
    """

    RETRY_S: Final = 1.0

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self._path = directory / "reserve"
        self._size_bytes = size_bytes
        self._tried_s = -self.RETRY_S
        self.refusal = "the spool's disk has not been tried yet; try again in a second"

    def release(self, error: OSError) -> None:
        """Give the room to those who write now, and refuse those who come."""
        if not self.refusal:
            log.error("the spool's disk fails: calls are refused", reason=str(error))
        self.refusal = f"the spool's disk fails ({error}); it is tried again every second"
        self._path.unlink(missing_ok=True)

    def hold(self) -> None:
        """Take the room again, tried once a second at most. Raises OSError while the disk has none."""
        if not self.refusal or time.monotonic() - self._tried_s < self.RETRY_S:
            return
        self._tried_s = time.monotonic()
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._size_bytes)
            file.write(bytes(min(self._size_bytes, 4096)))
            file.flush()
            os.fsync(file.fileno())
        self.refusal = ""


def locked(directory: Path) -> int:
    """Take the directory for this process; the descriptor returned holds it. Raises SpoolInUse."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise SpoolInUse(f"{directory} is the spool of another running gateway; give each its own directory") from error
    return lock
