"""An encoder student on a CPU: texts in, whole answers out, several at a time. Imports nothing of ours but tagging.

The student in Triton answers with this code, and so does the evaluation: what is proven is what is served. A directory
holds `openvino_model.xml` and `.bin`, `tokenizer.json`, `config.json` and `labels.json` (`tagging.Labels`).

Behind the text stands a token for each field that is not taken out of it, which asks for that field's value.

An answer counts one token for each piece of the text that is part of it, with the log-probability of the piece's tag,
one for each field that was asked for, and a last one for all pieces that are no part, with the least of theirs: so the
least of the log-probabilities is that of the least certain word of it. A label is one token; its scores are the mean of
those at the text's tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services import tagging
from services.tagging import OUTSIDE, UNUSED_POSITIONS, Labels, Span, choices

Floats = NDArray[np.float32]
MASKS: Final = ("[MASK]", "<mask>")  # BERT's and RoBERTa's: in pretraining, too, they asked for what is not there
TOGETHER: Final = 16  # texts computed at once: more gain nothing on two cores, and the first would wait for the last


@dataclass(frozen=True, slots=True)
class Read:
    """An answer. `logprobs` has one for each token; `cut` if there was no room for all of it, or of the text."""

    text: str
    logprobs: tuple[float, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as the model reads it. `firsts` are the pieces' first tokens; None: a piece that has no token. `asking`
    are the tokens behind the text, one for each choice.
    """

    ids: list[int]
    places: list[Span]
    firsts: list[int | None]
    asking: range


class Encoder:
    """A tagger if its labels have fields, else a classifier. Its methods may be called by one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """RuntimeError if the model can't be loaded, ValueError if it scores texts and not their tokens."""
        self._labels = Labels.model_validate_json((directory / "labels.json").read_bytes())
        columns = {name: column for column, name in enumerate(self._labels.names)}
        self._choices = [
            (field, [columns[label] for label in field.labels]) for field in choices(self._labels.fields or ())
        ]
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        # Without the hint, processors that have bf16 would compute in it, and answer otherwise than others.
        exact = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._model = openvino.Core().compile_model(str(directory / "openvino_model.xml"), "CPU", exact)
        if len(self._model.output(0).partial_shape) != 3:  # [B, T, labels]
            raise ValueError(f"{directory}: the model does not score each token; train it again with this version")
        config = json.loads((directory / "config.json").read_bytes())
        self._longest = config["max_position_embeddings"] - UNUSED_POSITIONS
        self._inputs = {name for entry in self._model.inputs for name in entry.get_names()}

    def read(self, texts: Sequence[str], max_tokens: Sequence[int]) -> list[Read]:
        """The answers, each of `max_tokens` at most; computed together, so few texts of like length are best."""
        encoded = [encode(text, self._tokenizer, len(self._choices)) for text in texts]
        readable = [index for index, entry in enumerate(encoded) if len(entry.ids) <= self._longest]
        read = [Read("", (), cut=True)] * len(texts)
        for index, logits in zip(readable, self._logits([encoded[index].ids for index in readable]), strict=True):
            read[index] = self._answer(texts[index], encoded[index], logits, max_tokens[index])
        return read

    def _logits(self, ids: Sequence[Sequence[int]]) -> Floats:
        """[B, T, labels]; what stands behind a text's last token is padding."""
        if not ids:
            return np.zeros((0, 0), dtype=np.float32)
        width = max(map(len, ids))
        padded = np.zeros((len(ids), width), dtype=np.int64)  # [B, T]; what stands at the padding is masked
        mask = np.zeros_like(padded)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
        computed: Any = self._model({name: array for name, array in given.items() if name in self._inputs})
        return np.asarray(computed[self._model.output(0)], dtype=np.float32)

    def _label(self, logits: Floats) -> Read:
        """`logits` are the text's own, [T, labels]."""
        logprobs = _log_softmax(logits.mean(0))  # [labels]
        best = int(logprobs.argmax())
        return Read(self._labels.names[best], (min(0.0, float(logprobs[best])),))

    def _answer(self, text: str, entry: Encoded, logits: Floats, max_tokens: int) -> Read:
        if self._labels.fields is None:
            return self._label(logits[: len(entry.ids)])
        logprobs = _log_softmax(logits)  # [T, tags]
        best = logprobs.argmax(-1)
        tags = [OUTSIDE if first is None else self._labels.names[best[first]] for first in entry.firsts]
        sure = [0.0 if first is None else min(0.0, float(logprobs[first, best[first]])) for first in entry.firsts]
        chosen, certain = self._chosen(logits[entry.asking.start : entry.asking.stop])
        said = certain + [logprob for tag, logprob in zip(tags, sure, strict=True) if tag != OUTSIDE]
        unsaid = min((logprob for tag, logprob in zip(tags, sure, strict=True) if tag == OUTSIDE), default=0.0)
        cut = len(said) >= max_tokens
        if len(said) > max_tokens:
            tags = _first(tags, max_tokens - len(certain))
        answer = tagging.answer(text, entry.places, tags, self._labels.fields, chosen)
        return Read(answer, tuple(said[:max_tokens]) if cut else (*said, unsaid), cut)

    def _chosen(self, logits: Floats) -> tuple[dict[str, str], list[float]]:
        """The likeliest value of each choice by its name, and their log-probabilities, among each one's own values."""
        chosen, certain = dict[str, str](), list[float]()
        for (field, columns), row in zip(self._choices, logits, strict=True):
            logprobs = _log_softmax(row[columns])
            best = int(logprobs.argmax())
            chosen[field.name] = field.values[best]
            certain.append(min(0.0, float(logprobs[best])))
        return chosen, certain


def encode(text: str, tokenizer: Tokenizer, asks: int = 0) -> Encoded:
    """The text's tokens with the model's special ones around them, piece by piece, as in training; and `asks` more."""
    places = tagging.spans(text)
    encoding = tokenizer.encode([text[start:end] for start, end in places], is_pretokenized=True)
    firsts: list[int | None] = [None] * len(places)
    for token, piece in enumerate(encoding.word_ids):
        if piece is not None and firsts[piece] is None:
            firsts[piece] = token
    masks = [mask for name in MASKS if (mask := tokenizer.token_to_id(name)) is not None]
    asking = (masks or encoding.ids[-1:])[:1] * asks
    return Encoded(encoding.ids + asking, places, firsts, range(len(encoding.ids), len(encoding.ids) + asks))


def _first(tags: Sequence[str], limit: int) -> list[str]:
    """The tags of the first `limit` pieces that have one."""
    counts = np.cumsum([tag != OUTSIDE for tag in tags])
    return [tag if count <= limit else OUTSIDE for tag, count in zip(tags, counts, strict=True)]


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(-1, keepdims=True)
    logprobs: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logprobs
