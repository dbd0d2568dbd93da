"""A student version's way into Triton beside the live one, and back out if it does not answer."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from protos import events_pb2 as events
from services.controller import promotions
from services.controller.errors import Refused
from services.controller.repository import Repository
from services.errors import Overloaded


class Serving(Protocol):
    """services.controller.triton.Triton, or its fake. Raises Overloaded while it is away, Refused if it says no."""

    def serves(self, task: str, version: int) -> bool:
        """Whether this version can answer now."""

    def load(self, task: str) -> None:
        """Load what the repository names."""

    def unload(self, task: str) -> None:
        """Let go of every version."""

    def answer(self, task: str, version: int, prompt: str) -> str:
        """The student's whole text for one prompt."""


@dataclass(frozen=True)
class Student:
    """A version of a task's student, and where training left it."""

    task: str
    version: int
    exported: Path


@dataclass(frozen=True)
class Loading:
    """The repository and the Triton that reads it. One version is loaded at a time."""

    repository: Repository
    triton: Serving
    versions_kept: int
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def load(self, student: Student, current: events.Promotion, prompt: str) -> None:
        """Have Triton serve the student beside what serves now, and see it answer. Raises Refused if it does not."""
        task, version = student.task, student.version
        live = {current.student_version} - {0}  # beside it one more must fit, not two
        with self._one_at_a_time:
            self.repository.install(task, version, student.exported)
            self.repository.serve(task, {*live, version})
            try:
                self._load_and_try(task, version, prompt)
            except Refused:
                self._take_back(task, version, live)
                raise
            self.repository.keep(task, {*live, version}, self.versions_kept)

    def tend(self, current: events.Promotion, student: Student | None) -> None:
        """Have Triton serve what is promoted, if it does not: it may have been restarted."""
        if not self._one_at_a_time.acquire(blocking=False):
            return  # whoever loads now may take minutes; the next look comes in seconds
        try:
            task, version = current.task, current.student_version
            if version == 0 or self.triton.serves(task, version):
                return
            if student is not None:
                self.repository.install(task, version, student.exported)
            self._serve(task, promotions.versions_in_use(current))
        finally:
            self._one_at_a_time.release()

    def _load_and_try(self, task: str, version: int, prompt: str) -> None:
        if not self.triton.serves(task, version):
            self.triton.load(task)
        if not self.triton.answer(task, version, prompt).strip():
            raise Refused(f"student version {version} is loaded, but answers its first prompt with nothing")

    def _take_back(self, task: str, version: int, live: set[int]) -> None:
        """Leave Triton and its repository as they were before a bad version came; the live one never goes."""
        if version in live:
            return
        with suppress(Refused, Overloaded):  # what it was taken back for is the news; looking mends the rest
            self._serve(task, live) if live else self.triton.unload(task)
        self.repository.remove(task, version)

    def _serve(self, task: str, versions: set[int]) -> None:
        self.repository.serve(task, versions)
        self.triton.load(task)
