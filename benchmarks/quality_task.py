"""What a task of benchmarks.student_quality is, how its examples are kept apart, and the dataset that they make."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.tasks import fraction
from training import data, leaking
from training.contract import EXAMPLE_COLUMNS, GOLDEN_COLUMNS, AnswerKind

EVAL_SHARE: Final = 0.1
MOST_EVAL: Final = 500
Row = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """Something asked, and the answer that people gave."""

    text: str
    answer: str
    group: str  # examples of one group stand on one side of the wall
    kind: str
    possible: Any = None  # what else counts as right, where the task says so
    context: str = ""  # what only the untuned base is told, as all others learn it

    @property
    def prompt(self) -> str:
        """What a student reads, as the gateway makes it of the last user message."""
        return f"{self.text}\n"


@dataclass(frozen=True)
class Splits:
    """Who learns from what, and what all are judged on."""

    train: Sequence[Example]
    eval: Sequence[Example]
    golden: Sequence[Example]


Answers = list[str]
Contestant = Callable[[Splits, int, Path], Answers]
"""Answers the golden examples in their order, by the splits, a seed, and a directory for what is fetched or made."""


@dataclass(frozen=True)
class Task:
    """One task: its examples, its rule of what is right, the student's default config, and who stands beside it."""

    name: str
    answer_kind: AnswerKind
    config: str  # in training/configs
    max_tokens: int
    examples: Callable[[Path], list[Example]]
    right: Callable[[Example, str], bool]
    instruction: str  # what the untuned base is told before it is asked
    read: Callable[[Sequence[Example], str], str]  # its words as an answer, by the training examples
    shots: int  # answered examples that it sees
    learners: Mapping[str, Contestant]  # for each seed anew
    fixed: Mapping[str, Contestant] = field(default_factory=dict)  # which learn nothing
    informed: tuple[str, ...] = ()  # those of them that were fitted on golden examples, too
    golden_share: float = 0.2


def apart(examples: Iterable[Example], golden_share: float) -> dict[str, list[Example]]:
    """The examples by split, as a stable hash of the group decides, each split in an order as stable."""
    parts: dict[str, list[Example]] = {"train": [], "eval": [], "golden": []}
    for one in sorted(examples, key=lambda one: fraction(one.text, salt="student quality, order")):
        place = fraction(one.group, salt="student quality")
        side = "golden" if place < golden_share else "eval" if place < golden_share + EVAL_SHARE else "train"
        parts[side].append(one)
    return parts


def drawn(parts: Mapping[str, Sequence[Example]], train: int, seed: int) -> Splits:
    """So many examples to learn from, which the seed draws; all else is the same for all seeds."""
    order = sorted(parts["train"], key=lambda one: fraction(one.text, salt=f"student quality, seed {seed}"))
    return Splits(order[:train], parts["eval"][:MOST_EVAL], parts["golden"])


def unleaked(parts: Mapping[str, Sequence[Example]], most: int, scratch: Path) -> list[Example]:
    """Golden examples, `most` at most, without those that stand nearly the same among what can be learnt from."""
    asked = parts["golden"][:most]
    write(Splits(parts["train"], parts["eval"], asked), scratch)
    kept, _ = leaking.apart(scratch, data.rows(scratch, "golden"), "label")
    return [asked[int(row["id"])] for row in kept]


def write(splits: Splits, dataset: Path) -> Path:
    """The splits as a dataset of the training's contract. People are the teacher here, at no cost."""
    dataset.mkdir(parents=True, exist_ok=True)
    rows = {
        "train": [_example(number, one) for number, one in enumerate(splits.train)],
        "eval": [_example(number, one) for number, one in enumerate(splits.eval)],
        "golden": [_golden(number, one) for number, one in enumerate(splits.golden)],
    }
    for name, table in rows.items():
        columns = GOLDEN_COLUMNS if name == "golden" else EXAMPLE_COLUMNS
        schema = pa.schema([(column, _arrow(kind)) for column, kind in columns.items()])
        pq.write_table(pa.Table.from_pylist(table, schema), dataset / f"{name}.parquet")
    (dataset / "manifest.json").write_text(json.dumps({name: len(table) for name, table in rows.items()}))
    return dataset


def _arrow(kind: str) -> Any:
    return {"string": pa.string(), "double": pa.float64(), "bool": pa.bool_(), "int64": pa.int64()}[kind]


def _example(number: int, one: Example) -> Row:
    said = {"completion": one.answer, "teacher_answer": one.answer, "weight": 1.0, "corrected": True}
    return {"id": str(number), "prompt": one.prompt, "question": one.text, "kind": one.kind, **said}


def _golden(number: int, one: Example) -> Row:
    free = {
        "teacher_latency_us": 0,
        "teacher_cost_usd": "0",
        "teacher_prompt_tokens": 0,
        "teacher_completion_tokens": 0,
    }
    said = {"truth": one.answer, "teacher_answer": one.answer, "group_key": one.group}
    return {"id": str(number), "prompt": one.prompt, "question": one.text, "kind": one.kind, **said, **free}
