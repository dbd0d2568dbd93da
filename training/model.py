"""The student while it learns: a causal language model with adapters, which answers a batch with its loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from torch.nn import functional

from training import base
from training.adapter import Adapted
from training.config import Config
from training.data import Batch
from training.weights import Weights, restore


class Student(torch.nn.Module):  # type: ignore[misc]  # torch is untyped to the checker
    """A causal language model that answers a batch with its loss."""

    def __init__(self, model: torch.nn.Module, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.eager = model.config._attn_implementation == "eager"

    def blocks(self) -> Sequence[torch.nn.Module]:
        """The model's layers, each of which is computed as a whole."""
        return list(self.model.model.layers)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The sum over completion tokens of weight * cross entropy, a scalar in nats."""
        return (self.losses(batch) * batch.weights).sum()

    def losses(self, batch: Batch) -> torch.Tensor:
        """[C]: the cross entropy of each completion token, in nats."""
        mask = _additive(batch.mask) if self.eager else batch.mask
        hidden = self.model.model(
            input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        logits = self.model.lm_head(hidden.flatten(0, 1)[batch.places])  # [C, V]
        return functional.cross_entropy(
            logits.float(), batch.labels, reduction="none", label_smoothing=self.label_smoothing
        )


def adapted(language_model: torch.nn.Module, config: Config) -> peft.PeftModel:
    """The model with fresh adapters on every linear layer of its blocks from `first_block` on."""
    first, blocks = config.lora.first_block, language_model.config.num_hidden_layers
    linear = {name.rsplit(".", 1)[-1] for name, part in language_model.named_modules() if _is_linear(part)}
    settings = peft.LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        use_dora=config.lora.dora,
        use_rslora=config.lora.rslora,
        target_modules=sorted(linear - {"lm_head"}),
        layers_to_transform=list(range(first, blocks)) if first else None,
        task_type="CAUSAL_LM",
    )
    if not config.lora.dora:
        settings._register_custom_module({torch.nn.Linear: Adapted})
    return peft.get_peft_model(language_model, settings)


def student(source: Path | str, config: Config, bf16: bool) -> Student:
    """The student. With `bf16` the frozen weights are kept in it, which saves casting them each step; what learns
    stays in fp32, for the small steps of the optimiser would be lost otherwise.
    """
    language_model = base.model(source, attn_implementation=config.attention)
    if config.tuning == "lora":
        adapted(language_model, config)
    if config.gradient_checkpointing:
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
    if bf16:
        for weight in language_model.parameters():
            weight.data = weight.data if weight.requires_grad else weight.data.bfloat16()
    return Student(language_model, config.label_smoothing)


def merged(source: Path | str, config: Config, learnt: Weights, dtype: torch.dtype) -> Any:
    """The language model with what was learnt folded in, ready to be saved."""
    language_model: Any = base.model(source, dtype=dtype)
    adapter = adapted(language_model, config) if config.tuning == "lora" else None
    restore(Student(language_model, 0.0), learnt)
    return adapter.merge_and_unload() if adapter else language_model


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; without them it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _additive(mask: torch.Tensor) -> torch.Tensor:
    """What eager attention adds to its scores for a mask of who sees whom; other masks as they are."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)


def _is_linear(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Linear)
