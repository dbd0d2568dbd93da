"""Which candidates become rows of train and eval, and what is noted beside each row.

Three looks. Eval is looked at first, so that a train row which is nearly the same as one of eval takes that one out of
eval: what is popular must be learnt, and eval has to hold what was not. What is too near to the golden set leaves both.
In memory is a sketch of every eval row and of the last so many train rows; near-duplicates further apart than that are
both kept, which is no leak.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.controller.guards import GoldenWall, Tally
from services.controller.quotas import Quotas
from services.controller.redaction import Redactor
from services.controller.rows import example_row, prompt
from services.erasures import digest
from services.similarity import Neighbours, Sketch, normalised, sketch
from services.tasks import Task, stratum

Page = list[dict[str, Any]]
TRAIN_REMEMBERED: Final = 200_000
"""Some 450 MB."""
EVAL_REMEMBERED: Final = 10_000_000
"""All: the proof that the splits are apart needs them."""
NEAR_TRAIN: Final = "it is nearly the same as one in train, or of a group in train"
NEAR_EVAL: Final = "it is nearly the same as one in eval, or of a group in eval"
NEAR_ITSELF: Final = "it is nearly the same as another one of its split"
ENOUGH: Final = "there are enough of its sort"
LATE: Final = "it came while the snapshot was taken"
LINEAGE_COLUMNS: Final = {
    "group_digest": "string",  # whose row it is, should that customer be erased; '' where it has no group
    "stratum": "string",
    "reason": "string",  # why the sampler chose it
    "probability": "double",  # with which it was chosen, and taken into this snapshot
    "hard": "string",  # why it is a hard case, with commas between the reasons; '' if it is none
    "teacher_model": "string",
    "decided_at": "string",  # ISO 8601, UTC
}
"""Columns of train and eval that training does not read: where each row comes from."""


class Splits:
    """The two splits of one snapshot, counted."""

    def __init__(self, task: Task, wall: GoldenWall, redactor: Redactor, secret: str) -> None:
        """`secret` is the digests'."""
        self.tallies = {"train": Tally(), "eval": Tally()}
        self._task, self._wall, self._secret = task, wall, secret
        self._quotas = Quotas(task)
        self._redactor = redactor
        similarity = task.sampling.near_duplicate
        self._seen = {
            "train": Neighbours(similarity, TRAIN_REMEMBERED),
            "eval": Neighbours(similarity, EVAL_REMEMBERED),
        }
        self._by_people: set[int] = set()
        """Train rows that people answered: prompt and answers."""
        self._held_out: dict[str, bool] = {}
        """Eval rows by id: whether they are still apart from train."""
        self._shared: dict[str, list[str]] = {}
        """Ids of eval rows by their questions, as the same with another answer is no near-duplicate, and by their
        groups, as the task's shares may have been others when an old candidate was put on its side."""

    def look_at_train(self, page: Page) -> None:
        """The first look, for the quotas of the sorts; needed only where the task has some."""
        for candidate in page:
            self._quotas.look(candidate)

    def look_at_eval(self, page: Page) -> None:
        """The first look at eval, before the first row of train."""
        for raw in page:
            candidate = self._clean(raw)
            seen = _sketch(candidate)
            if not self._wall.objection(candidate, self._task) and not any(self._seen["eval"].near(seen)):
                self._held_out[str(candidate["id"])] = True
                self._seen["eval"].add(str(candidate["id"]), seen)
                for mark in _marks(candidate):
                    self._shared.setdefault(mark, []).append(str(candidate["id"]))

    def rows(self, split: str, page: Page) -> Iterator[dict[str, Any]]:
        """A page's rows of a split; all of train before the first of eval."""
        tally = self.tallies[split]
        for raw in page:
            found: Counter[str] = Counter()
            candidate = self._clean(raw, found)
            if why := self._objection(split, candidate):
                tally.removed[why] += 1
                continue
            sort = stratum(self._task, candidate["kind"], candidate["answer"])
            tally.add(candidate, sort)
            tally.redacted.update(found)
            share = self._quotas.probability(candidate) if split == "train" else 1.0
            taken = {**candidate, "probability": candidate["probability"] * share}
            row = {**example_row(self._task, split, taken), "prompt": taken["prompt"]}
            yield {**row, **lineage(taken, sort, self._secret)}

    def redacted(self, texts: Mapping[str, str], counts: Counter[str] | None = None) -> dict[str, str]:
        """Texts without personal data, with the stand-ins of this snapshot."""
        return self._redactor.redacted(texts, counts)

    def objection_to_pair(self, row: Mapping[str, Any]) -> str:
        """Why a redacted pair with the fields of a candidate may not be learnt, once both splits are written."""
        if why := self._wall.objection(row, self._task):
            return why
        if row["split"] == "eval":
            return NEAR_TRAIN if any(self._near_of("train", row)) else ""
        return NEAR_EVAL if any(self._held_out[one] for one in self._of_eval_like(row)) else ""

    def _of_eval_like(self, row: Mapping[str, Any]) -> list[str]:
        """Ids of the eval rows that are nearly the same, or of its groups, or of its question."""
        same = [one for mark in _marks(row) for one in self._shared.get(mark, ())]
        return [*self._near_of("eval", row), *same]

    def _near_of(self, split: str, row: Mapping[str, Any]) -> Iterator[str]:
        """Ids of the other side's rows that are nearly the same."""
        return self._seen[split].near(_sketch(row), any_answer=self._task.answers_vary)

    def _clean(self, raw: Mapping[str, Any], counts: Counter[str] | None = None) -> dict[str, Any]:
        """A candidate with its prompt, both without personal data."""
        texts = {name: raw[name] for name in ("question", "answer", "teacher_answer")}
        return {**raw, **self.redacted({**texts, "prompt": prompt(self._task, raw["request"])}, counts)}

    def _objection(self, split: str, candidate: Mapping[str, Any]) -> str:
        if why := self._wall.objection(candidate, self._task):
            return why
        return self._of_train(candidate) if split == "train" else self._of_eval(candidate)

    def _of_train(self, candidate: Mapping[str, Any]) -> str:
        if not self._quotas.takes(candidate):
            return ENOUGH
        seen = _sketch(candidate)
        if self._is_repeated(candidate, seen):
            return NEAR_ITSELF
        self._seen["train"].add(str(candidate["id"]), seen)
        for held_out in self._of_eval_like(candidate):
            self._held_out[held_out] = False
        return ""

    def _is_repeated(self, candidate: Mapping[str, Any], seen: Sketch) -> bool:
        """Of what people answered only the very same: a difference of hardly a letter may be what they mean."""
        if not candidate["corrected"]:
            return any(self._seen["train"].near(seen))
        same = hash((normalised(candidate["prompt"]), candidate["answer"], candidate["teacher_answer"]))
        known = same in self._by_people
        self._by_people.add(same)
        return known

    def _of_eval(self, candidate: Mapping[str, Any]) -> str:
        apart = self._held_out.get(str(candidate["id"]))
        if apart is None:
            return NEAR_ITSELF if any(self._seen["eval"].near(_sketch(candidate))) else LATE
        return "" if apart else NEAR_TRAIN


def lineage(candidate: Mapping[str, Any], sort: str, secret: str) -> dict[str, Any]:
    """What is noted beside a row, in LINEAGE_COLUMNS."""
    return {
        "group_digest": digest(candidate["group_key"], secret) if candidate["group_key"] else "",
        "stratum": sort,
        "reason": candidate["reason"],
        "probability": candidate["probability"],
        "hard": ",".join(candidate.get("hard", ())),
        "teacher_model": candidate["teacher_model"],
        "decided_at": candidate["decided_at"].isoformat(),
    }


def _sketch(candidate: Mapping[str, Any]) -> Sketch:
    return sketch(candidate["question"], candidate["answer"])


def _marks(candidate: Mapping[str, Any]) -> list[str]:
    groups = {candidate["group_key"], candidate.get("liked_group_key", "")} - {""}
    return [f"question {normalised(candidate['question'])}", *(f"group {group}" for group in groups)]
