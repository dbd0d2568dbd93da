"""TRL's SFTTrainer, with its defaults where the spec is silent. Runs in an environment of its own: `trl.txt`."""

import sys
from pathlib import Path

import peft
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from benchmarks import training_common as common
from benchmarks.training_peft import encoded


def main() -> None:
    """Learn, and tell."""
    spec = common.read(Path(sys.argv[1]))
    torch.set_num_threads(spec.threads)
    tokenizer = common.tokenizer(spec)
    rows = common.load(spec, "train")
    train, held_out = (encoded(some, tokenizer) for some in (rows, common.load(spec, "eval")))
    steps = -(-len(rows) // spec.batch_size)
    settings = SFTConfig(
        output_dir=spec.output,
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(spec.warmup * steps),
        num_train_epochs=1,
        max_grad_norm=1.0,
        bf16=spec.bf16,
        use_cpu=spec.device == "cpu",
        use_liger_kernel=spec.liger,
        gradient_checkpointing=False,
        completion_only_loss=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        max_length=None,
    )
    adapters = peft.LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = AutoModelForCausalLM.from_pretrained(spec.base, dtype=common.frozen_dtype(spec))
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=adapters,
    )
    scales = common.Scales()
    trainer.train()
    spent = scales.stop()
    scales.tell(sum(len(p) + len(c) for p, c in train), common.judged(trainer.model, held_out), spent)


if __name__ == "__main__":
    main()
