"""Trains and exports tiny encoders: `python -m tests.training.serve_encoders BASE DATASET LABELLED SORTED OUTPUT`."""

import shutil
import sys
from pathlib import Path

from tests.training.tiny import train
from training import checkpoint, data, export, kinds
from training.config import Config

MAX_TOKENS = 24


def main(base: Path, dataset: Path, labelled: Path, both: Path, output: Path) -> None:
    tagger = Config(
        kind="tagger",
        engine="encoder",
        base_model=str(base),
        batch_size=8,
        epochs=20,
        learning_rate=3e-3,
        precision="fp32",
        threads=1,
        evaluations=0,
    )
    serve(tagger, dataset, output / "tagger")
    shutil.copytree(output / "tagger", output / "tagger-int8")
    serve(tagger.model_copy(update={"int8": True}), dataset, output / "tagger-int8")
    serve(tagger.model_copy(update={"epochs": 40}), both, output / "chooser")
    serve(tagger.model_copy(update={"kind": "classifier"}), labelled, output / "classifier")


def serve(config: Config, dataset: Path, output: Path) -> None:
    train(config, dataset, output)
    kind = kinds.kind(config, data.rows(dataset, "train"))
    saved = checkpoint.load(output)
    assert saved is not None
    model = export.merge(config, kind, saved[1]["weights"], output)
    export.triton_version(config, kind, model, MAX_TOKENS, output)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
