"""From a dataset directory to batches: rows, token ids, and which examples stand together.

Token ids are those of serving: prompt and completion are tokenised apart, nothing is added but the end token.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from tokenizers import Tokenizer

from services.pruning import Rule, pruned
from training.contract import EXAMPLE_COLUMNS, GOLDEN_COLUMNS, PREFERENCE_COLUMNS

Row = dict[str, Any]
WINDOW = 50  # batches that are sorted by length together: enough to leave hardly any padding, few enough to stay mixed


@dataclass(frozen=True)
class Example:
    """One example as token ids; `weight` is its share of the loss."""

    prompt: list[int]
    completion: list[int]
    weight: float

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def learnt(self) -> int:
        """How many places the loss is taken at."""
        return len(self.completion)


@dataclass(frozen=True)
class Batch:
    """Token ids of B examples, padded right to width T; C is the number of completion tokens."""

    ids: torch.Tensor  # [B, T] int64
    mask: torch.Tensor  # [B, T] int64, 1 where a token stands; or [B, 1, T, T] bool, true where one sees another
    places: torch.Tensor  # [C] int64: where in the flat [B * T] the token before each completion token stands
    labels: torch.Tensor  # [C] int64
    weights: torch.Tensor  # [C] float32
    positions: torch.Tensor | None = None  # [B, T] int64; None: 0, 1, 2 ... in every row

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = (self.ids, self.mask, self.places, self.labels, self.weights, self.positions)
        return Batch(*(None if tensor is None else tensor.to(device) for tensor in tensors))


def rows(dataset: Path, split: str, unread: Rule | None = None) -> list[Row]:
    """The rows of one split ('train', 'eval' or 'golden'). Raises ValueError naming the columns that are missing.

    Their prompts come without what is `unread`. One that lacks it comes empty: in serving the student refuses it.
    """
    wanted = GOLDEN_COLUMNS if split == "golden" else EXAMPLE_COLUMNS
    table = pyarrow.parquet.read_table(dataset / f"{split}.parquet")
    if missing := sorted(set(wanted) - set(table.column_names)):
        raise ValueError(f"{split}.parquet lacks the columns {', '.join(missing)}")
    return _as_read(table.select(list(wanted)).to_pylist(), unread)


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def preferences(dataset: Path, unread: Rule | None = None) -> list[Row]:
    """The rows of preferences.parquet, train and eval; none where there is no such file. `unread` as in `rows`."""
    path = dataset / "preferences.parquet"
    if not path.is_file():
        return []
    return _as_read(pyarrow.parquet.read_table(path, columns=list(PREFERENCE_COLUMNS)).to_pylist(), unread)


def _as_read(table: list[Row], unread: Rule | None) -> list[Row]:
    return [{**row, "prompt": pruned(row["prompt"], unread) or ""} for row in table] if unread else table


def examples(table: Sequence[Row], tokenizer: Tokenizer, end_token: int, longest: int) -> list[Example]:
    """The rows as token ids; those above `longest` tokens are left out."""
    made = encoded(table, tokenizer, end_token)
    return [example for example in made if example.prompt and len(example) <= longest]


def encoded(table: Sequence[Row], tokenizer: Tokenizer, end_token: int) -> list[Example]:
    """Every row as token ids, its completion with the end token."""
    prompts = encode([row["prompt"] for row in table], tokenizer)
    completions = encode([row["completion"] for row in table], tokenizer)
    both = zip(prompts, completions, table, strict=True)
    return [Example(prompt, [*completion, end_token], row["weight"]) for prompt, completion, row in both]


def plan(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """One pass over the examples: every index once, batches of similar length, in an order that the seed decides."""
    draw = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    draw.shuffle(order)
    window = batch_size * WINDOW
    batches = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lengths.__getitem__)
        batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
    draw.shuffle(batches)
    return batches


def schedule(lengths: Sequence[int], batch_size: int, epochs: float, seed: int, least: int = 1) -> list[list[int]]:
    """The batches of the whole run, `least` or more; a broken number of epochs ends within a pass."""
    each = math.ceil(len(lengths) / batch_size)
    steps = max(least, round(each * epochs))
    passes = (plan(lengths, batch_size, seed + epoch) for epoch in range(math.ceil(steps / each)))
    return [batch for once in passes for batch in once][:steps]


def collate(chosen: Sequence[Example], pad: int) -> Batch:
    """Pad to the longest, and mark where the loss is taken: at each token before a completion token."""
    width = max(len(example) for example in chosen)
    ids = torch.full((len(chosen), width), pad)
    mask = torch.zeros((len(chosen), width), dtype=torch.long)
    places: list[int] = []
    for row, example in enumerate(chosen):
        ids[row, : len(example)] = torch.tensor(example.prompt + example.completion)
        mask[row, : len(example)] = 1
        first = row * width + len(example.prompt) - 1
        places += range(first, first + len(example.completion))
    return Batch(
        ids=ids,
        mask=mask,
        places=torch.tensor(places),
        labels=torch.tensor([token for example in chosen for token in example.completion]),
        weights=torch.tensor([example.weight for example in chosen for _ in example.completion]),
    )
