"""Examples from elsewhere as a snapshot: they take the candidates' place, and pass everything that candidates pass.

They lie in a file of their own until the snapshot is taken, as it reads them twice and a page at a time. Where the task
has a golden set, that is what proves; else those whose group stands on the golden side of the wall do, as they would
have among exchanges.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller.cycle import Counts
from services.controller.errors import Refused
from services.controller.store import Page, Store
from services.tasks import Task, question, split
from services.validators import refusal

SIDES: Final = {events.SPLIT_TRAIN: "train", events.SPLIT_EVAL: "eval", events.SPLIT_GOLDEN: "golden"}
KIND: Final = "kind"
COUNTED_TOGETHER: Final = 1_000


@dataclass(frozen=True)
class Origin:
    """What is said of all examples of an import."""

    source: str
    sha256: str
    by_people: bool
    teacher_model: str
    at: datetime

    def told(self, set_aside: int) -> dict[str, Any]:
        """For the manifest. `set_aside`: the examples that the hash of their group keeps out of train and eval."""
        return {
            "kind": "import",
            "file": self.source,
            "sha256": self.sha256,
            "answers_by": "people" if self.by_people else self.teacher_model,
            "set_aside": set_aside,
        }


def check_licence(task: Task, origin: Origin) -> None:
    """Raises Refused for a teacher's answers that may not be trained on."""
    if not origin.by_people and not task.teacher.may_be_trained_on:
        raise Refused(
            f"task {task.name}: teacher.may_be_trained_on is false, so the answers of {origin.teacher_model} are not "
            "learnt from. If people wrote the answers, say so (--by-people); if the licence allows it, say that in the "
            "task's file"
        )


def row(task: Task, origin: Origin, example: control.ImportedExample) -> dict[str, Any]:
    """An example as a candidate's row, with the side of the wall that it stands on."""
    request = example.request
    whose = request.group_key or request.request_id
    return {
        "id": request.request_id,
        "request": json_format.MessageToJson(request, indent=None),
        "question": question(request),
        "kind": request.metadata.get(KIND, ""),
        "group_key": request.group_key,
        "answer": example.answer,
        "refusal": refusal(task.validators, question(request), example.answer),
        "corrected": origin.by_people,
        "reason": f"imported from {origin.source}",
        "probability": 1.0,
        "teacher_answer": "" if origin.by_people else example.answer,
        "teacher_model": "" if origin.by_people else origin.teacher_model,
        "decided_at": origin.at.isoformat(),
        "split": SIDES[split(task.sampling.split, whose)],
    }


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to the file that an ImportedStore reads."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(one)}\n" for one in rows)


class ImportedStore(Store):
    """The candidates of a file; all else is the store's under it."""

    def __init__(self, path: Path, under: Store) -> None:
        self._path, self._under = path, under

    def counts(self, task: str) -> Counts:
        return self._under.counts(task)

    def new_candidates(self, task: str, since: datetime) -> int:
        return self._under.new_candidates(task, since)

    def requests_per_day(self, task: str) -> float:
        return self._under.requests_per_day(task)

    def candidates(self, task: str, split: str, page_rows: int) -> Iterator[Page]:  # noqa: ARG002
        return self._pages(split, page_rows)

    def set_aside(self) -> int:
        """How many stand on the golden side of the wall, which none of train and eval does."""
        return sum(len(page) for page in self._pages("golden", COUNTED_TOGETHER))

    def golden(self, task: str, page_rows: int) -> Iterator[Page]:
        return self._under.golden(task, page_rows)

    def teachers(self, task: str, page_rows: int) -> Iterator[Page]:  # noqa: ARG002
        return ([_as_golden(one) for one in page] for page in self._pages("golden", page_rows))

    def preferences(self, task: str, page_rows: int) -> Iterator[Page]:  # noqa: ARG002
        """None: an example is one answer, not two."""
        return iter(())

    def secret(self) -> str:
        return self._under.secret()

    def add_golden(self, rows: Sequence[Sequence[Any]]) -> None:
        self._under.add_golden(rows)

    def _pages(self, split: str, page_rows: int) -> Iterator[Page]:
        with self._path.open(encoding="utf-8") as file:
            wanted = (one for one in map(json.loads, file) if one["split"] == split)
            while page := [_dated(one) for one in islice(wanted, page_rows)]:
                yield page


def _dated(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "decided_at": datetime.fromisoformat(one["decided_at"])}


def _as_golden(one: Mapping[str, Any]) -> dict[str, Any]:
    """An example that proves: its answer is the truth, and what the teacher said. What that took nobody knows."""
    fields = {name: one[name] for name in ("id", "group_key", "kind")}
    teacher = (one["answer"], 0, "0", 0, 0, one["request"])
    return {**fields, "input": one["question"], "truth": one["answer"], "answered": True, "teacher": teacher}
