"""The state folder of a stack: who runs it, what runs, and where; at most one stack at a time holds it."""

import fcntl
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict

from deploy.local.processes import Identity, stop_session, wait_until

_RECORD: Final = "stack.json"
_LEFTOVER_GRACE_S: Final = 5.0
_WATCHDOG_TAKES_S: Final = 60.0


class AlreadyUp(Exception):  # noqa: N818 - a state, said plainly
    """Another stack holds the folder."""


class Record(BaseModel):
    """What `stack.json` says of a running stack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stack: Identity
    """The process that started the parts and stops them when it gets SIGTERM."""
    parts: dict[str, Identity]
    """In the order of their start."""
    addresses: dict[str, str]
    env: dict[str, str]
    """Settings under which clients reach the stack."""


class Home:
    """The folder, held until `release`."""

    def __init__(self, directory: Path, lock: IO[str]) -> None:
        self.directory = directory
        self._lock = lock

    @classmethod
    def claim(cls, directory: Path) -> "Home":
        """Takes the folder. AlreadyUp names the stack that has it. What a killed stack left running is stopped."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # It will hold all the traffic.
        (directory / "logs").mkdir(exist_ok=True)
        lock = (directory / "stack.lock").open("w")
        if not (_locked(lock) or (_is_dead(directory) and wait_until(lambda: _locked(lock), _WATCHDOG_TAKES_S))):
            lock.close()
            raise AlreadyUp(_already_up(directory))
        home = cls(directory.resolve(), lock)
        home.stop_leftovers()
        return home

    def put_logs_aside(self) -> None:
        """Keeps the logs of the stack before this one, and only those, as `<part>.log.1`."""
        for log in (self.directory / "logs").glob("*.log"):
            log.replace(log.with_suffix(".log.1"))

    def log(self, part: str) -> Path:
        """Where a part's output goes."""
        return self.directory / "logs" / f"{part}.log"

    def write(self, record: Record) -> None:
        """Says what runs now. Readers see the old record or the new one, whole."""
        fresh = self.directory / f"{_RECORD}.new"
        fresh.write_text(record.model_dump_json(indent=2))
        fresh.replace(self.directory / _RECORD)

    def stop_leftovers(self) -> None:
        """Stops what the record names, last started first, and removes the record."""
        if record := read_record(self.directory):
            for leader in reversed(record.parts.values()):
                stop_session(leader, _LEFTOVER_GRACE_S)
        self.forget()

    def forget(self) -> None:
        """Nothing runs any more."""
        (self.directory / _RECORD).unlink(missing_ok=True)

    def release(self) -> None:
        """Lets another stack have the folder."""
        self._lock.close()


def read_record(directory: Path) -> Record | None:
    """What runs in a folder; None if nothing does. A record may outlive a stack that was killed: ask its process."""
    try:
        return Record.model_validate_json((directory / _RECORD).read_text())
    except FileNotFoundError:
        return None


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_dead(directory: Path) -> bool:
    """Whether the stack there was killed, so that it is its watchdog that holds the folder, for seconds."""
    record = read_record(directory)
    return record is not None and record.stack.process() is None


def _already_up(directory: Path) -> str:
    record = read_record(directory)
    who = f"process {record.stack.pid}" if record else "another process"
    return f"{directory} has a running stack ({who}): stop it first, or choose another folder with --state"
