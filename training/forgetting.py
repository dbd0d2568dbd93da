"""What a student has forgotten: how well it predicts texts that have nothing to do with its task, before and after.

Unless the config names a file, the texts are the topics of Python's own language reference, which every Python carries
(`pydoc_data.topics`): plain technical English with some code. The measure is each text's mean loss per token. It tells
whether general ability was lost, not how much there was.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer

from training import base, data, intervals, model
from training.config import Config
from training.contract import Forgetting
from training.data import Example

REFERENCE: Final = "topics of the Python language reference"
CHARACTERS: Final = 600
MOST_TOKENS: Final = 128
BATCH: Final = 8


def measured(config: Config, output: Path) -> Forgetting | None:
    """The base model's and the merged model's losses on the same texts; None where the config wants none."""
    source, (name, some) = base.fetch(config), texts(config)
    if not some:
        return None
    examples = encoded(some, base.tokenizer(source))
    device = base.device()
    # On a GPU in the format in which the student learnt there: the fp32 of a large one may be more than it holds.
    dtype = torch.bfloat16 if device.type == "cuda" and model.multiplies_bf16(device) else torch.float32
    both = (base.model(place, dtype=dtype).to(device) for place in (source, output / "model"))
    before, after = (losses(model.Student(one, 0.0), examples) for one in both)
    tokens = np.array([example.learnt for example in examples])
    return Forgetting(
        source=name,
        texts=len(examples),
        tokens=int(tokens.sum()),
        perplexity_before=math.exp(np.average(before, weights=tokens)),
        perplexity_after=math.exp(np.average(after, weights=tokens)),
        nats_lost=intervals.mean_interval(np.array(after) - np.array(before)),
    )


def texts(config: Config) -> tuple[str, list[str]]:
    """What the texts are, and so many of them, evenly drawn; the paragraphs of a file where the config names one."""
    if config.general_file:
        name, all_texts = str(config.general_file), config.general_file.read_text(encoding="utf-8").split("\n\n")
    else:
        name, all_texts = REFERENCE, [text for _, text in sorted(topics.items())]
    long_enough = [text.strip()[:CHARACTERS] for text in all_texts if len(text.strip()) >= CHARACTERS // 4]
    wanted = min(config.general_texts, len(long_enough))
    return name, [long_enough[place * len(long_enough) // wanted] for place in range(wanted)]


def encoded(some: Sequence[str], tokenizer: Tokenizer) -> list[Example]:
    """Each text as token ids; its first token is given, the others are to be predicted."""
    ids = [text[:MOST_TOKENS] for text in data.encode(some, tokenizer)]
    return [Example(text[:1], text[1:], 1.0) for text in ids if len(text) > 1]


@torch.no_grad()  # type: ignore[untyped-decorator]
def losses(student: model.Student, examples: Sequence[Example]) -> list[float]:
    """Each text's mean loss in nats per token."""
    student.eval()
    device = next(student.parameters()).device
    found: list[float] = []
    for at in range(0, len(examples), BATCH):
        some = examples[at : at + BATCH]
        nats = student.losses(data.collate(some, 0).to(device)).split([example.learnt for example in some])
        found += [float(one.mean()) for one in nats]
    return found
