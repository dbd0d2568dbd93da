"""A plain peft loop, as people write it: padded batches in random order, logits at every position, labels of -100."""

import random
import sys
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from benchmarks import training_common as common

Pair = tuple[list[int], list[int]]


def encoded(rows: list[dict[str, str]], tokenizer: Any) -> list[Pair]:
    """Prompt and completion as token ids, the completion with the end token."""
    ids = [
        [tokenizer(row[part], add_special_tokens=False).input_ids for part in ("prompt", "completion")] for row in rows
    ]
    return [(prompt, [*completion, tokenizer.eos_token_id]) for prompt, completion in ids]


def padded(pairs: list[Pair], pad: int, device: str) -> dict[str, torch.Tensor]:
    """[B, T] each."""
    width = max(len(prompt) + len(completion) for prompt, completion in pairs)
    ids = [p + c + [pad] * (width - len(p) - len(c)) for p, c in pairs]
    mask = [[1] * len(p + c) + [0] * (width - len(p) - len(c)) for p, c in pairs]
    labels = [[-100] * len(p) + c + [-100] * (width - len(p) - len(c)) for p, c in pairs]
    named = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(values, device=device) for name, values in named.items()}


def main() -> None:
    """Learn, and tell."""
    spec = common.read(Path(sys.argv[1]))
    torch.set_num_threads(spec.threads)
    torch.manual_seed(0)
    tokenizer = common.tokenizer(spec)
    train, held_out = (encoded(common.load(spec, split), tokenizer) for split in ("train", "eval"))
    base = AutoModelForCausalLM.from_pretrained(spec.base, dtype=common.frozen_dtype(spec)).to(spec.device)
    adapters = peft.LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, adapters)
    random.Random(0).shuffle(train)
    batches = [train[at : at + spec.batch_size] for at in range(0, len(train), spec.batch_size)]
    optimiser = torch.optim.AdamW((w for w in model.parameters() if w.requires_grad), lr=spec.learning_rate)
    rate = get_cosine_schedule_with_warmup(optimiser, round(spec.warmup * len(batches)), len(batches))
    scales = common.Scales()
    model.train()
    for batch in batches:
        with torch.autocast(spec.device, dtype=torch.bfloat16, enabled=spec.bf16):
            loss = model(**padded(batch, tokenizer.eos_token_id, spec.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        optimiser.zero_grad()
    spent = scales.stop()
    scales.tell(sum(len(p) + len(c) for p, c in train), common.judged(model, held_out), spent)


if __name__ == "__main__":
    main()
