"""The seam between the recipe and the kinds of student: what differs between them. All else is the same for all.

A causal language model writes the answer. A tagger takes it out of the text or chooses its parts, a classifier names
a label: encoders, which read once and answer in milliseconds, and can do only some tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from services.tagging import Labels
from training.contract import AnswerKind
from training.data import Row
from training.weights import Weights


class Example(Protocol):
    """Something to learn from; its length is in tokens."""

    @property
    def weight(self) -> float: ...

    @property
    def learnt(self) -> int:
        """How many places the loss is taken at."""

    def __len__(self) -> int: ...


class Batch(Protocol):
    """Examples as tensors."""

    def to(self, device: torch.device) -> "Batch": ...


@dataclass(frozen=True)
class Examples:
    """What can be learnt from, and how many rows can't, by reason."""

    kept: Sequence[Any]  # of Example
    left_out: Mapping[str, int]


class Kind(Protocol):
    """One kind of student, for one dataset."""

    labels: Labels | None
    """What the outputs of an encoder mean."""
    exported_as: str
    """The exporter's word for what the model does."""

    def objection(self, answer_kind: AnswerKind, table: Sequence[Row]) -> str:
        """Why it can't do the task; '' if it can. `table` is the training split."""

    def examples(self, table: Sequence[Row]) -> Examples:
        """The rows of one split as examples."""

    def collate(self, chosen: Sequence[Any]) -> Batch:
        """Examples side by side, padded."""

    def learner(self, *, bf16: bool) -> torch.nn.Module:
        """The base model, ready to learn: it answers a Batch with the sum of weight * loss, a scalar in nats.

        With `bf16` what is not learnt may be kept in it.
        """

    def finished(self, learnt: Weights) -> Any:
        """transformers' model with what was learnt folded in, ready to be saved."""
