"""Pairs of answers to one prompt of which a person prefers one, from a page of candidates; pure.

A correction is preferred to the answer that it corrects; an answer that a person wrote or liked, to one that was
disliked, where both answer the same prompt and stand on the same side of the wall. Both texts are as the sampler let
them through, so what a student had answered, which no candidate carries, is in no pair; and they are redacted as
examples are.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.controller.rows import prompt
from services.controller.splits import Splits
from services.erasures import digest
from services.tasks import Task

CHOSEN_DIGEST: Final = "chosen_digest"
"""Whose the preferred answer is, should that customer be erased: it may be another's than the rejected one."""


class Preferences:
    """The pairs of one snapshot, counted."""

    def __init__(self, task: Task, splits: Splits, own_digest: str, secret: str) -> None:
        """`splits` are written already; `own_digest` names the column that says by a digest whose row a pair is."""
        self._task, self._splits, self._own_digest, self._secret = task, splits, own_digest, secret
        self._kept: Counter[str] = Counter()
        self._removed: Counter[str] = Counter()
        self._redacted: Counter[str] = Counter()

    def rows_of(self, page: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """A page's pairs as rows of preferences.parquet."""
        for row in page:
            found: Counter[str] = Counter()
            pair = self._pair(row, found)
            question = pair.pop("question")
            if why := self._objection({**row, "question": question}, pair):
                self._removed[why] += 1
                continue
            self._redacted.update(found)
            self._kept[f"{pair['split']}: {pair['why']}"] += 1
            yield pair

    def counts(self) -> dict[str, Any]:
        """For the manifest."""
        told = {"reasons": self._kept, "removed": self._removed, "redacted": self._redacted}
        return {"rows": self._kept.total(), **{name: dict(count) for name, count in told.items()}}

    def _pair(self, row: Mapping[str, Any], found: Counter[str]) -> dict[str, Any]:
        """A pair without personal data, and its question."""
        written = bool(row["correction"])
        answer, whose = (row["correction"], row["group_key"]) if written else (row["liked"], row["liked_group_key"])
        texts = {"question": row["question"], "chosen": answer, "rejected": row["rejected"]}
        texts["prompt"] = prompt(self._task, row["request"])
        return {
            "id": str(row["id"]),
            **self._splits.redacted(texts, found),
            "why": "correction" if written else "rating",
            "split": row["split"],
            "kind": row["kind"],
            self._own_digest: self._digest(row["group_key"]),
            CHOSEN_DIGEST: self._digest(whose),
        }

    def _digest(self, group_key: str) -> str:
        return digest(group_key, self._secret) if group_key else ""

    def _objection(self, row: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
        if not pair["chosen"]:
            return "no better answer to the same question is known"
        if pair["why"] == "rating" and prompt(self._task, row["liked_request"]) != prompt(self._task, row["request"]):
            return "the better answer is to another prompt"
        if " ".join(pair["chosen"].split()) == " ".join(pair["rejected"].split()):
            return "both answers are the same"
        # The rejected answer is the teacher's, so its licence counts whoever wrote the other.
        return self._splits.objection_to_pair({**row, "answer": pair["chosen"], "corrected": False})
