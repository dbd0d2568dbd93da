"""What may not enter a dataset, and what is counted of what does; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.controller.noise import Judged
from services.similarity import Neighbours, normalised, sketch
from services.tasks import Task

__all__ = ["GoldenWall", "Tally", "normalised"]

COMMONEST: Final = 50
"""Tags and reasons are free texts; the manifest names the commonest."""


@dataclass
class GoldenWall:
    """The questions and groups that prove, and so are never trained on."""

    questions: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    near: Neighbours | None = None
    """Where near-duplicates are looked for."""

    def add(self, question: str, group_key: str, answers: Iterable[str]) -> None:
        """Take a golden example's question, and its group if it has one, out of training.

        `answers`: the truth, and the teacher's, as a teacher that is wrong here is so on what is nearly the same.
        """
        self.questions.add(normalised(question))
        if group_key:
            self.groups.add(group_key)
        if self.near is not None:
            for answer in dict.fromkeys(answers):
                self.near.add("", sketch(question, answer))

    def objection(self, row: Mapping[str, Any], task: Task) -> str:
        """Why a candidate may be neither trained nor tuned on; '' if it may."""
        if normalised(row["question"]) in self.questions:
            return "its question is in the golden set"
        if row["group_key"] in self.groups:
            return "its group is in the golden set"
        if not row["corrected"] and not task.teacher.may_be_trained_on:
            return "the teacher may not be trained on, and no person corrected it"
        if not row["question"].strip() or not row["answer"].strip():
            return "it has no question or no answer"
        if row.get("refusal"):
            return "the task's validators refuse its answer"
        return "it is nearly the same as one in the golden set" if self._near(row, task) else ""

    def _near(self, row: Mapping[str, Any], task: Task) -> bool:
        if self.near is None:
            return False
        seen = sketch(row["question"], row["answer"])
        return any(True for _ in self.near.near(seen, any_answer=task.answers_vary))


@dataclass
class Tally:
    """What a split of a dataset is made of."""

    rows: int = 0
    corrected: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    teachers: Counter[str] = field(default_factory=Counter)
    strata: Counter[str] = field(default_factory=Counter)
    judged: Judged = field(default_factory=Judged)
    redacted: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    first_id: str = ""
    last_id: str = ""
    first_decided_at: datetime | None = None
    last_decided_at: datetime | None = None

    def add(self, row: Mapping[str, Any], stratum: str = "") -> None:
        """Count a candidate that stays."""
        self.rows += 1
        self.strata[stratum] += 1
        if row["corrected"] and row["teacher_answer"]:
            self.judged.add(row["teacher_answer"], row["answer"])
        self.corrected += bool(row["corrected"])
        self.kinds[row["kind"]] += 1
        self.reasons[row["reason"]] += 1
        self.teachers[row["teacher_model"]] += 1
        row_id, decided_at = str(row["id"]), row["decided_at"].replace(tzinfo=UTC)  # the driver leaves it out
        self.first_id = min(self.first_id or row_id, row_id)  # UUIDv7: the first in time
        self.last_id = max(self.last_id, row_id)
        self.first_decided_at = min(self.first_decided_at or decided_at, decided_at)
        self.last_decided_at = max(self.last_decided_at or decided_at, decided_at)

    def counts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "rows": self.rows,
            "corrected": self.corrected,
            "kinds": dict(self.kinds.most_common(COMMONEST)),
            "reasons": dict(self.reasons.most_common(COMMONEST)),
            "strata": dict(self.strata.most_common(COMMONEST)),
            "redacted": dict(self.redacted),
            "removed": dict(self.removed),
        }

    def lineage(self) -> dict[str, Any]:
        """For the manifest: which candidates these are."""
        return {
            "first_id": self.first_id,
            "last_id": self.last_id,
            "first_decided_at": self.first_decided_at.isoformat() if self.first_decided_at else None,
            "last_decided_at": self.last_decided_at.isoformat() if self.last_decided_at else None,
            "teacher_models": dict(self.teachers.most_common(COMMONEST)),
        }
