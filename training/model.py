"""The student while it learns: a causal language model with adapters, which answers a batch with its loss."""

from pathlib import Path

import peft
import torch
from torch.nn import functional

from training import base
from training.config import Config
from training.data import Batch


class Student(torch.nn.Module):  # type: ignore[misc]  # torch is untyped to the checker
    """A causal language model that answers a batch with its loss."""

    def __init__(self, model: torch.nn.Module, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(self, batch: Batch) -> torch.Tensor:
        """The sum over completion tokens of weight * cross entropy, a scalar in nats."""
        hidden = self.model.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden.flatten(0, 1)[batch.places])  # [C, V]
        losses = functional.cross_entropy(
            logits.float(), batch.labels, reduction="none", label_smoothing=self.label_smoothing
        )
        return (losses * batch.weights).sum()


def adapted(language_model: torch.nn.Module, config: Config) -> peft.PeftModel:
    """The model with fresh adapters on every linear layer of its blocks from `first_block` on."""
    first, blocks = config.lora.first_block, language_model.config.num_hidden_layers
    linear = {name.rsplit(".", 1)[-1] for name, part in language_model.named_modules() if _is_linear(part)}
    settings = peft.LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=sorted(linear - {"lm_head"}),
        layers_to_transform=list(range(first, blocks)) if first else None,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(language_model, settings)


def student(source: Path | str, config: Config, bf16: bool) -> Student:
    """The student with its adapters. With `bf16` the frozen weights are kept in it, which saves casting them each step;
    the adapters stay in fp32, for the small steps of the optimiser would be lost otherwise.
    """
    language_model = base.model(source, attn_implementation=config.attention)
    adapted(language_model, config)
    if bf16:
        for weight in language_model.parameters():
            weight.data = weight.data if weight.requires_grad else weight.data.bfloat16()
    return Student(language_model, config.label_smoothing)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; without them it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _is_linear(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Linear)
