"""Decisions that are in effect before Kafka has them: on this disk until it does, for the next controller to bring."""

import os
from pathlib import Path

from google.protobuf.message import DecodeError

from protos import events_pb2 as events
from services.telemetry import log


class Outbox:
    """A file a task, with its latest such decision. A task's name is letters, digits and hyphens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, promotion: events.Promotion) -> None:
        """Return once it is on disk; what waited there of the same task was overtaken by it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._directory / f"{promotion.task}.new"
        with fresh.open("wb") as file:
            file.write(promotion.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path(promotion))
        _sync(self._directory)

    def drop(self, promotion: events.Promotion) -> None:
        """Kafka has it. A later one of the same task stays."""
        if (kept := _read(self._path(promotion))) is not None and kept.id == promotion.id:
            self._path(promotion).unlink(missing_ok=True)

    def waiting(self) -> list[events.Promotion]:
        """What Kafka may not have yet."""
        found = (_read(path) for path in sorted(self._directory.glob("*.promotion")))
        return [promotion for promotion in found if promotion is not None]

    def _path(self, promotion: events.Promotion) -> Path:
        return self._directory / f"{promotion.task}.promotion"


def _read(path: Path) -> events.Promotion | None:
    try:
        return events.Promotion.FromString(path.read_bytes())
    except FileNotFoundError:
        return None
    except DecodeError:
        log.error("not a promotion: left where it lies", path=str(path))
        return None


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
