"""What a dataset's manifest says of where its examples are from, as far as a report tells it.

What a manifest lacks has a default, and what else it holds is left out, so that datasets of any make have a report.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Split(_Part):
    """What one of train, eval, golden and preferences is made of. Texts with their counts are the commonest ones."""

    rows: int = 0
    corrected: int = 0  # a person confirmed or wrote the answer
    kinds: dict[str, int] = {}
    reasons: dict[str, int] = {}  # for which they were chosen
    strata: dict[str, int] = {}
    redacted: dict[str, int] = {}  # what was taken out of texts, by its sort
    removed: dict[str, int] = {}  # examples that were left out, by the reason
    without_teacher_answer: int = 0


class Teacher(_Part):
    """Who gave the answers."""

    model: str = ""
    may_be_trained_on: bool | None = None


class Judged(_Part):
    """The teacher's answers that people judged; bounds are a 95 % interval."""

    answers: int = 0
    wrong: int = 0
    error: float | None = None
    low: float = 0.0
    high: float = 1.0


class Lineage(_Part):
    """Which candidates a split is made of."""

    first_decided_at: str | None = None
    last_decided_at: str | None = None
    teacher_models: dict[str, int] = {}


class SplitProof(_Part):
    """What the splits were found to have in common."""

    similarity: float = 1.0  # from which on two questions count as nearly the same
    found: float = 1.0  # the share of such pairs that the search finds
    shared: dict[str, dict[str, int]] = {}


class Manifest(_Part):
    """Where a dataset is from."""

    number: int | None = None
    created_at: str = ""
    counts: dict[str, Split] = {}  # by split
    source: dict[str, Any] = {}
    teacher: Teacher = Teacher()
    teacher_error: dict[str, Judged] = {}  # by where people said so: golden, feedback
    filters: list[str] = []
    lineage: dict[str, Lineage | str] = {}  # by split, and the hash of the task's definition
    split_proof: SplitProof | None = None
    sha256: dict[str, str] = {}  # by file


def read(dataset: Path) -> Manifest | None:
    """The dataset's; None if it has none. Raises ValueError if it is not one."""
    path = dataset / "manifest.json"
    try:
        return Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{path}: {error}") from error


def check_unchanged(dataset: Path) -> None:
    """Raises ValueError if a file is not what the manifest says; where that says nothing, nothing can be checked."""
    told = read(dataset)
    changed = [name for name, sha256 in told.sha256.items() if _sha256(dataset / name) != sha256] if told else []
    if changed:
        why = "a student of it could not be traced to its examples; take another snapshot"
        raise ValueError(f"{dataset}: {', '.join(changed)} changed since the snapshot was taken: {why}")


def _sha256(path: Path) -> str:
    """As hex; none of a file that is gone."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
