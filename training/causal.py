"""The kind of student that writes: a causal language model with low-rank adapters, or tuned as a whole."""

from collections.abc import Sequence
from typing import Any

import torch

from services.tagging import Labels
from training import base, data, model, packing
from training.config import Config
from training.contract import AnswerKind
from training.data import Batch, Example, Row
from training.kind import Examples
from training.weights import Weights


class Causal:
    """Implements `Kind`."""

    labels: Labels | None = None
    exported_as = "text-generation-with-past"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._source = base.fetch(config)
        self._tokenizer, self._end = base.tokenizer(self._source), base.end_tokens(self._source)[0]

    def objection(self, answer_kind: AnswerKind, table: Sequence[Row]) -> str:  # noqa: ARG002 - any text can be written
        return ""

    def examples(self, table: Sequence[Row]) -> Examples:
        kept = data.examples(table, self._tokenizer, self._end, self.config.longest)
        too_long = len(table) - len(kept)
        return Examples(kept, {f"longer than {self.config.longest} tokens": too_long} if too_long else {})

    def collate(self, chosen: Sequence[Example]) -> Batch:
        width = self.config.pack_tokens
        return packing.collate(chosen, self._end, width) if width else data.collate(chosen, self._end)

    def learner(self, *, bf16: bool) -> torch.nn.Module:
        return model.student(self._source, self.config, bf16)

    def finished(self, learnt: Weights) -> Any:
        dtype = torch.float32 if self.config.engine == "openvino" else torch.bfloat16
        return model.merged(self._source, self.config, learnt, dtype)
