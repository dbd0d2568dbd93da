"""What a run learns: examples, how they stand side by side, and the module that answers a batch with its loss."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from training import data, kinds, settling
from training.config import Config
from training.settling import Settled

REFUSED: Final = "the student refuses its prompt, which lacks what others have in common"


@dataclass(frozen=True)
class Lesson:
    """Examples are as `kind.Example` says."""

    examples: Sequence[Any]
    held_out: Sequence[Any]
    collate: Callable[[Sequence[Any]], Any]  # examples as tensors: a `kind.Batch`
    module: Callable[[bool], torch.nn.Module]  # ready to learn, in bf16 where that is true; answers weight * loss
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows that can't be learnt from, by reason


def imitation(config: Config, dataset: Path, settled: Mapping[int, Settled] = MappingProxyType({})) -> Lesson:
    """The answers of a dataset, as the config's kind of student learns them. `settled` is what `mending` decided."""
    every = data.rows(dataset, "train", config.unread)
    table = [row for row in every if row["prompt"]]
    kind = kinds.kind(config, table)
    learnt = [row for row in settling.learnt(every, settled) if row["prompt"]]
    made = kind.examples(shuffled(learnt, config.seed) if config.shuffled_answers else learnt)
    held_out = kind.examples([row for row in data.rows(dataset, "eval", config.unread) if row["prompt"]])
    gone = {REFUSED: len(every) - len(table), **settling.left_out(every, settled)}
    left_out = {**made.left_out, **{why: count for why, count in gone.items() if count}}
    some = share(made.kept, config)
    return Lesson(some, held_out.kept, kind.collate, lambda bf16: kind.learner(bf16=bf16), left_out)


def shuffled(table: Sequence[data.Row], seed: int) -> list[data.Row]:
    """Each example with the answer of another. A student can learn nothing from them but which answers are common."""
    answers = [row["completion"] for row in table]
    random.Random(seed).shuffle(answers)  # noqa: S311 - an order, not a secret
    return [{**row, "completion": answer} for row, answer in zip(table, answers, strict=True)]


def share(examples: Sequence[Any], config: Config) -> list[Any]:
    """The part of them that the config wants, drawn by its seed; a larger part holds the smaller ones."""
    order = list(range(len(examples)))
    random.Random(config.seed).shuffle(order)  # noqa: S311 - an order, not a secret
    wanted = max(1, round(config.train_share * len(examples)))
    return [examples[index] for index in sorted(order[:wanted])]
