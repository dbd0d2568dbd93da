"""The student's answers from the engine that will serve it, with a confidence for each.

Prompts go in as texts, become token ids as they do in serving, and the engine draws greedily. OpenVINO answers as it
will serve, and so does an encoder.
A student for TensorRT-LLM is answered for by transformers with the same weights: its answers are what will be served,
its latency is not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openvino
import openvino_genai
import torch
from tokenizers import Tokenizer

from services.encoder import TOGETHER, Encoder
from training import base, data

MAX_RUNNING = 64  # beyond it two cores gain nothing
CACHE_GB = 1


@dataclass(frozen=True)
class Answer:
    """What the student said. `confidence` is the least log-probability among its tokens, 0 or less.

    `cut` if it ended at the limit: the engine says so, as an answer may end of itself with the last token it may have.
    """

    text: str
    confidence: float
    prompt_tokens: int
    completion_tokens: int
    cut: bool = False


@dataclass(frozen=True)
class Limits:
    """When an answer ends."""

    end_tokens: Sequence[int]
    max_tokens: int


Done = Callable[[int], None]
"""Told, now and then, how many answers are there."""


class Engine(Protocol):
    """Answers prompts, in their order."""

    def answers(self, prompts: Sequence[str], done: Done) -> list[Answer]: ...


class OpenVino:
    """Continuous batching over an exported model directory, on the CPU."""

    def __init__(self, directory: Path, tokenizer: Tokenizer, limits: Limits) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = MAX_RUNNING
        scheduler.cache_size = CACHE_GB
        # Left off, as in serving: enable_prefix_caching, with which some of those who come together get wrong answers.
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            models_path=str(directory), scheduler_config=scheduler, device="CPU"
        )
        self._generation = openvino_genai.GenerationConfig()
        self._generation.max_new_tokens = limits.max_tokens
        self._generation.logprobs = 1
        self._generation.eos_token_id = limits.end_tokens[0]
        self._generation.stop_token_ids = set(limits.end_tokens)
        self._tokenizer, self._limits = tokenizer, limits

    def answers(self, prompts: Sequence[str], done: Done) -> list[Answer]:
        encoded = data.encode(prompts, self._tokenizer)
        handles = [
            self._pipeline.add_request(index, openvino.Tensor(np.array([ids], dtype=np.int64)), self._generation)
            for index, ids in enumerate(encoded)
        ]
        going_on = openvino_genai.GenerationStatus.RUNNING
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            done(sum(handle.get_status() != going_on for handle in handles))
        return [self._read(ids, handle) for ids, handle in zip(encoded, handles, strict=True)]

    def _read(self, prompt: Sequence[int], handle: Any) -> Answer:
        tokens: list[int] = []
        logprobs: list[float] = []
        cut = False
        while handle.can_read():
            for output in handle.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs
                cut = output.finish_reason == openvino_genai.GenerationFinishReason.LENGTH
        return replace(answer(prompt, tokens, logprobs, self._tokenizer, self._limits), cut=cut)


class Transformers:
    """One prompt after another through transformers, on a GPU if there is one."""

    def __init__(self, directory: Path, tokenizer: Tokenizer, limits: Limits) -> None:
        self._device = base.device()
        self._model: Any = base.model(directory, dtype="auto").to(self._device).eval()
        self._tokenizer, self._limits = tokenizer, limits

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def answers(self, prompts: Sequence[str], done: Done) -> list[Answer]:
        made = []
        for prompt in data.encode(prompts, self._tokenizer):
            made.append(self._answer(prompt))
            done(len(made))
        return made

    def _answer(self, prompt: Sequence[int]) -> Answer:
        ids = torch.tensor([list(prompt)], device=self._device)
        drawn = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=self._limits.max_tokens,
            do_sample=False,
            eos_token_id=list(self._limits.end_tokens),
            pad_token_id=self._limits.end_tokens[0],
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = drawn.sequences[0, len(prompt) :]  # [N]
        logprobs = torch.stack(drawn.logits)[:, 0].float().log_softmax(-1)  # [N, V]
        chosen = logprobs.gather(1, tokens[:, None])[:, 0]
        said = answer(prompt, tokens.tolist(), chosen.tolist(), self._tokenizer, self._limits)
        return replace(said, cut=int(tokens[-1]) not in self._limits.end_tokens)


class Reading:
    """A tagger or a classifier, a micro-batch after the other."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._encoder, self._tokenizer, self._max_tokens = encoder, tokenizer, max_tokens

    def answers(self, prompts: Sequence[str], done: Done) -> list[Answer]:
        lengths = [len(ids) for ids in data.encode(prompts, self._tokenizer)]
        order = sorted(range(len(prompts)), key=lengths.__getitem__)  # like lengths together: little padding
        made: dict[int, Answer] = {}
        for start in range(0, len(order), TOGETHER):
            some = order[start : start + TOGETHER]
            read = self._encoder.read([prompts[index] for index in some], [self._max_tokens] * len(some))
            for index, said in zip(some, read, strict=True):
                confidence = min(said.logprobs, default=float("-inf"))
                made[index] = Answer(said.text, confidence, lengths[index], len(said.logprobs), said.cut)
            done(len(made))
        return [made[index] for index in range(len(prompts))]


def engine(name: str, output: Path, max_tokens: int) -> Engine:
    """The engine for the student in `<output>/triton`, as student.json names it."""
    directory = output / "triton"
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    if name == "encoder":
        return Reading(Encoder(directory), tokenizer, max_tokens)
    limits = Limits(base.end_tokens(output / "model"), max_tokens)
    return OpenVino(directory, tokenizer, limits) if name == "openvino" else Transformers(directory, tokenizer, limits)


def answer(
    prompt: Sequence[int], tokens: Sequence[int], logprobs: Sequence[float], tokenizer: Tokenizer, limits: Limits
) -> Answer:
    """The text without the token that ended it; the confidence with it. An answer of no tokens has none."""
    text = [token for token in tokens if token not in limits.end_tokens]
    confidence = min(0.0, *logprobs) if logprobs else float("-inf")
    return Answer(tokenizer.decode(text, skip_special_tokens=True), confidence, len(prompt), len(tokens))


def timed(engine: Engine, prompts: Sequence[str], done: Done) -> list[float]:
    """Milliseconds for each prompt but the first, which warms the engine, asked one at a time; one alone is both."""
    engine.answers([prompts[0], prompts[0]], lambda _: None)
    times_ms = []
    for prompt in prompts[1:] or prompts:
        start = time.perf_counter()
        engine.answers([prompt], lambda _: None)
        times_ms.append(1000 * (time.perf_counter() - start))
        done(len(times_ms))
    return times_ms
