"""The kinds of student that read: an encoder whose every weight is tuned, with a head of `heads` on top."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForTokenClassification

from services.encoder import encode
from services.tagging import UNUSED_POSITIONS, Labels
from training import base
from training.config import Config
from training.contract import AnswerKind
from training.data import Row
from training.heads import NOT_LEARNT, Head
from training.kind import Examples
from training.tagging import Unaligned
from training.weights import Weights, restore

NO_WORDS: Final = "no words"
TRIED: Final = 2000  # rows that show whether the task can be done


@dataclass(frozen=True)
class Text:
    """One text as token ids, and what to learn of it: a label for each token, or a single one for the whole."""

    ids: list[int]
    target: list[int]
    weight: float

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """How many places the loss is taken at."""
        return sum(label != NOT_LEARNT for label in self.target)


@dataclass(frozen=True)
class Texts:
    """B texts, padded right to width T; L is T with a label for each token, 1 with one for the text."""

    ids: torch.Tensor  # [B, T] int64
    mask: torch.Tensor  # [B, T] int64, 1 where a token stands
    target: torch.Tensor  # [B, L] int64
    weights: torch.Tensor  # [B] float32

    def to(self, device: torch.device) -> "Texts":
        """The same batch on another device."""
        return Texts(*(tensor.to(device) for tensor in (self.ids, self.mask, self.target, self.weights)))


class Reader(torch.nn.Module):  # type: ignore[misc]  # torch is untyped to the checker
    """An encoder that answers a batch with its loss."""

    def __init__(self, model: torch.nn.Module, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def train(self, mode: bool = True) -> "Reader":  # noqa: ARG002
        """Its dropout stays off, in learning too."""
        super().train(False)
        return self

    def forward(self, batch: Texts) -> torch.Tensor:
        """The sum over labels of weight * cross entropy, a scalar in nats."""
        rows = self.model(input_ids=batch.ids, attention_mask=batch.mask).logits.float()  # [B, T, labels]
        if batch.target.shape[1] == 1:
            shares = batch.mask / batch.mask.sum(1, keepdim=True)  # [B, T]
            rows = (rows * shares[:, :, None]).sum(1, keepdim=True)  # [B, 1, labels]
        losses = functional.cross_entropy(
            rows.transpose(1, 2),
            batch.target,
            reduction="none",
            ignore_index=NOT_LEARNT,
            label_smoothing=self.label_smoothing,
        )  # [B, L]
        return (losses * batch.weights[:, None]).sum()


class Encoding:
    """Implements `Kind`."""

    exported_as = "token-classification"

    def __init__(self, config: Config, head: Head) -> None:
        self.config, self._head = config, head
        self.labels: Labels | None = head.labels
        self._source = base.fetch(config)
        self._tokenizer = base.tokenizer(self._source)
        positions = AutoConfig.from_pretrained(self._source).max_position_embeddings
        self._longest = min(config.longest, positions - UNUSED_POSITIONS)

    def objection(self, answer_kind: AnswerKind, table: Sequence[Row]) -> str:
        return self._head.objection(answer_kind, self.examples(table[:TRIED]))

    def examples(self, table: Sequence[Row]) -> Examples:
        left_out = Counter[str]()
        kept = []
        for row in table:
            try:
                kept.append(self._text(row))
            except Unaligned as why:
                left_out[str(why)] += 1
        return Examples(kept, left_out)

    def collate(self, chosen: Sequence[Text]) -> Texts:
        return Texts(
            ids=_padded([text.ids for text in chosen], 0),  # whatever stands there is masked
            mask=_padded([[1] * len(text) for text in chosen], 0),
            target=_padded([text.target for text in chosen], NOT_LEARNT),
            weights=torch.tensor([text.weight for text in chosen]),
        )

    def learner(self, *, bf16: bool) -> Reader:  # noqa: ARG002 - all weights are learnt, so all stay in fp32
        return Reader(self._model(), self.config.label_smoothing)

    def finished(self, learnt: Weights) -> Any:
        reader = Reader(self._model(), 0.0)
        restore(reader, learnt)
        return reader.model

    def _model(self) -> Any:
        labels = dict(enumerate(self._head.labels.names))
        numbers = {name: number for number, name in labels.items()}
        named = {"num_labels": len(labels), "id2label": labels, "label2id": numbers, "ignore_mismatched_sizes": True}
        return AutoModelForTokenClassification.from_pretrained(
            self._source, dtype=torch.float32, attn_implementation=self.config.attention, **named
        )

    def _text(self, row: Row) -> Text:
        encoded = encode(row["prompt"], self._tokenizer, self._head.asks)
        if not encoded.places:
            raise Unaligned(NO_WORDS)
        if len(encoded.ids) > self._longest:
            raise Unaligned(f"longer than {self._longest} tokens")
        return Text(encoded.ids, self._head.target(row, encoded), row["weight"])


def _padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])
