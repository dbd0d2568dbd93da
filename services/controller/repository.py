"""Triton's model repository: `<task>/config.pbtxt` and `<task>/<version>/`. Whole or not at all, on any kill."""

import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from services.controller.cycle import superfluous
from services.controller.errors import Refused

MODEL: Final = '''"""The student, as Triton's Python backend wants it: a module of this name in each version."""

from services.student.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Repository:
    """A directory that Triton reads and this controller alone writes."""

    root: Path
    template: Path
    """config.pbtxt with $name and $versions."""

    def versions(self, task: str) -> list[int]:
        """The versions that lie there, in order."""
        return sorted(int(path.name) for path in (self.root / task).glob("*") if path.name.isdigit())

    def install(self, task: str, version: int, exported: Path) -> None:
        """Put an exported student there, unless it is. Raises Refused if there is nothing to put."""
        place = self.root / task / str(version)
        if place.is_dir():
            return
        if not exported.is_dir():
            raise Refused(f"student version {version} of {task} is gone: {exported} does not exist")
        unfinished = place.with_name(f".{version}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(exported, unfinished, copy_function=_linked)
        (unfinished / "model.py").unlink(missing_ok=True)  # never write through a link into the run's own files
        (unfinished / "model.py").write_text(MODEL, encoding="utf-8")
        unfinished.rename(place)

    def serve(self, task: str, versions: Iterable[int]) -> None:
        """Name the versions, of those that lie there, which Triton is to load."""
        there = sorted(set(versions) & set(self.versions(task)))
        text = Template(self.template.read_text(encoding="utf-8"))
        unfinished = self.root / task / ".config.unfinished"
        unfinished.write_text(text.substitute(name=task, versions=", ".join(map(str, there))), encoding="utf-8")
        unfinished.replace(self.root / task / "config.pbtxt")

    def keep(self, task: str, needed: Collection[int], newest: int) -> list[int]:
        """Remove all versions but those needed and the newest so many; return the removed."""
        removed = superfluous(self.versions(task), needed, newest)
        for version in removed:
            self.remove(task, version)
        return removed

    def remove(self, task: str, version: int) -> None:
        """Remove one version, if it is there."""
        shutil.rmtree(self.root / task / str(version), ignore_errors=True)


def _linked(source: str, target: str) -> None:
    """A second name for the same file where the disk allows it: weights are large and never change."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
