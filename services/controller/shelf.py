"""The snapshots on disk as they are read: their manifests, their rows, and what distinguishes two of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from services.controller.errors import Refused

SPLITS: Final = ("train", "eval", "golden")
COMPARED: Final = ("prompt", "completion", "truth", "corrected", "weight", "kind", "teacher_answer")
"""Columns that make two rows of one id alike."""
SHOWN_CHANGES: Final = 5
TOLD: Final = (
    "task",
    "source",
    "teacher",
    "sampling",
    "redaction",
    "filters",
    "teacher_error",
    "truth",
    "mean_prompt_tokens",
)
"""What of two manifests is compared by value."""


@dataclass(frozen=True)
class Difference:
    """How a split differs. `changes`: id, column, value before and after, of some rows that both hold."""

    before: int
    after: int
    added: int
    removed: int
    changed: int
    changes: list[tuple[str, str, str, str]]


def numbers(directory: Path) -> list[int]:
    """The snapshots of a task, by their numbers, latest first."""
    return sorted((int(path.name) for path in directory.glob("*") if path.name.isdigit()), reverse=True)


def manifest(directory: Path) -> dict[str, Any]:
    """A snapshot's manifest."""
    told: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return told


def rows(directory: Path, split: str, page_rows: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of a split in their order, a page at a time."""
    if split not in SPLITS:
        raise Refused(f"split: {split[:40]!r} is none of {', '.join(SPLITS)}")
    for batch in pq.ParquetFile(directory / f"{split}.parquet").iter_batches(page_rows):
        yield batch.to_pylist()


def difference(before: Path, after: Path, split: str, page_rows: int) -> Difference:
    """How a split differs. In memory are the ids of one side, with eight bytes for each row."""
    known = {row["id"]: _mark(row) for page in rows(before, split, page_rows) for row in page}
    held, added, changed, total = len(known), 0, set[str](), 0
    for row in (row for page in rows(after, split, page_rows) for row in page):
        total += 1
        mark = known.pop(row["id"], None)
        added += mark is None
        if mark is not None and mark != _mark(row):
            changed.add(row["id"])
    shown = set(sorted(changed)[:SHOWN_CHANGES])
    return Difference(held, total, added, len(known), len(changed), _changes(before, after, split, page_rows, shown))


def distinctions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What else the manifests tell apart, for people."""
    told = [(name, before.get(name), after.get(name)) for name in TOLD]
    told += [
        (f"{split} {name}", *_count(before, after, split, name)) for split in SPLITS for name in ("strata", "kinds")
    ]
    told += [("task definition", _definition(before)[:12], _definition(after)[:12])]
    return [f"{name}: {_short(one)} -> {_short(other)}" for name, one, other in told if one != other]


def _changes(before: Path, after: Path, split: str, page_rows: int, ids: set[str]) -> list[tuple[str, str, str, str]]:
    if not ids:
        return []
    one, other = (
        {row["id"]: row for page in rows(where, split, page_rows) for row in page if row["id"] in ids}
        for where in (before, after)
    )
    return [
        (name, column, str(one[name].get(column)), str(other[name].get(column)))
        for name in sorted(ids)
        for column in COMPARED
        if one[name].get(column) != other[name].get(column)
    ]


def _mark(row: Mapping[str, Any]) -> bytes:
    told = json.dumps([row.get(column) for column in COMPARED], ensure_ascii=False)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _count(before: Mapping[str, Any], after: Mapping[str, Any], split: str, name: str) -> tuple[Any, Any]:
    one, other = before["counts"].get(split, {}).get(name), after["counts"].get(split, {}).get(name)
    return one, other


def _definition(told: Mapping[str, Any]) -> str:
    return str(told.get("lineage", {}).get("task_sha256", ""))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}..."
