"""The proof that a snapshot's splits are apart: read again from what was written, by nothing but the files.

No group key on two sides, no question on two sides (case and white space aside), and no near-duplicate: two nearly
equal questions with the same answer, or with any where answers are free texts. The last is as sure as the bands are,
which the manifest tells. Where train and eval are redacted the golden set is compared as if it were, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from services.controller.errors import Refused
from services.controller.redaction import Redactor
from services.erasures import digest
from services.similarity import SURE, Neighbours, normalised, sketch

SMALL: Final = ("golden", "eval")
"""What is held in memory; train is read past it."""
MOST: Final = 10_000_000
COLUMNS: Final = ("question", "completion", "truth", "teacher_answer", "group_key", "group_digest")


class Side:
    """What stands on one side of the wall."""

    def __init__(self, similarity: float, secret: str, *, any_answer: bool) -> None:
        self._secret, self._any_answer = secret, any_answer
        self.groups: set[str] = set()
        self.questions: set[str] = set()
        self.near = Neighbours(similarity, MOST)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row in."""
        self.questions.add(normalised(row["question"]))
        for answer in _answers(row):
            self.near.add("", sketch(row["question"], answer))
        if whose := self._group(row):
            self.groups.add(whose)

    def shared(self, row: Mapping[str, Any]) -> dict[str, int]:
        """What a row of another side has in common with this one."""
        seen = sketch(row["question"], row["completion"])
        near = any(True for _ in self.near.near(seen, any_answer=self._any_answer))
        return {
            "groups": int(self._group(row) in self.groups),
            "questions": int(normalised(row["question"]) in self.questions),
            "near_duplicates": int(near),
        }

    def _group(self, row: Mapping[str, Any]) -> str:
        if "group_digest" in row:
            return str(row["group_digest"])
        return digest(row["group_key"], self._secret) if row.get("group_key") else ""


def proven(
    directory: Path, similarity: float, redactor: Redactor, secret: str, *, any_answer: bool = False
) -> dict[str, Any]:
    """The proof, for the manifest. Raises Refused where there is none. `any_answer`: answers are free texts."""
    golden, held_out = (Side(similarity, secret, any_answer=any_answer) for _ in SMALL)
    shared = {"train and golden": _none(), "eval and golden": _none(), "train and eval": _none()}
    told = {"similarity": similarity, "method": SURE.told(), "found": round(SURE.found_share(similarity), 6)}
    for row in _rows(directory, "golden"):
        golden.add({**row, **redactor.redacted({name: row[name] for name in ("question", "truth", "teacher_answer")})})
    for row in _rows(directory, "eval"):
        _count(shared["eval and golden"], golden.shared(row))
        held_out.add(row)
    for row in _rows(directory, "train"):
        _count(shared["train and golden"], golden.shared(row))
        _count(shared["train and eval"], held_out.shared(row))
    if any(count for counts in shared.values() for count in counts.values()):
        raise Refused(f"the snapshot's splits are not apart: {shared}")
    return {**told, "shared": shared}


def _none() -> dict[str, int]:
    return {"groups": 0, "questions": 0, "near_duplicates": 0}


def _count(total: dict[str, int], found: Mapping[str, int]) -> None:
    for name, count in found.items():
        total[name] += count


def _rows(directory: Path, split: str) -> Iterator[dict[str, Any]]:
    file = pq.ParquetFile(directory / f"{split}.parquet")
    wanted = [name for name in COLUMNS if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=wanted):
        yield from batch.to_pylist()


def _answers(row: Mapping[str, Any]) -> Iterable[str]:
    """What it is known by: of a golden example the truth, and what the teacher makes of it."""
    return {row["truth"], row["teacher_answer"]} if "truth" in row else (row["completion"],)
