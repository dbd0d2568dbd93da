"""Our recipe, as a contestant of `benchmarks.training`."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import training_common as common
from benchmarks.training_common import Spec
from training import base, data, lesson, model, recipe
from training.checkpoint import load
from training.config import Config, Lora


def dataset(spec: Spec) -> Path:
    """The data as a dataset of the contract's."""
    target = Path(spec.output) / "dataset"
    target.mkdir(parents=True, exist_ok=True)
    rest = {"question": "", "kind": "", "weight": 1.0, "corrected": False, "teacher_answer": ""}
    for split in ("train", "eval"):
        rows = [{"id": str(n), **row, **rest} for n, row in enumerate(common.load(spec, split))]
        pq.write_table(pa.Table.from_pylist(rows), target / f"{split}.parquet")
    return target


def settings(spec: Spec) -> Config:
    """The spec as a config; what it does not say is our default."""
    return Config(
        base_model=spec.base,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        warmup=spec.warmup,
        lora=Lora(rank=spec.rank, alpha=spec.alpha),
        precision="bf16" if spec.bf16 else "fp32",
        attention="eager" if spec.device == "cpu" else "sdpa",
        compile=spec.device != "cpu",
        threads=spec.threads,
        min_steps=1,
        evaluations=0,
        checkpoint_every_s=1e9,
    )


def main() -> None:
    """Learn, and tell."""
    spec = common.read(Path(sys.argv[1]))
    config, files, device = settings(spec), dataset(spec), torch.device(spec.device)
    taught = lesson.imitation(config, files)
    scales = common.Scales()
    run = recipe.train(config, taught, Path(spec.output), device)
    spent = scales.stop()
    saved = load(Path(spec.output))
    assert saved is not None
    merged = model.merged(spec.base, config, saved[1]["weights"], torch.float32)
    held_out = data.examples(
        data.rows(files, "eval"), base.tokenizer(Path(spec.base)), base.end_tokens(Path(spec.base))[0], 2048
    )
    loss = common.judged(merged.to(device), [(one.prompt, one.completion) for one in held_out])
    scales.tell(run.state.tokens, loss, spent)


if __name__ == "__main__":
    main()
