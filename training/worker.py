"""What each of Ray Train's workers does; apart from `launch`, whose imports would cost each of them seconds."""

import os
from pathlib import Path
from typing import Any

from ray.train import get_context
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, get_device

from training import decision, lesson, preferring, progress, recipe
from training.config import Config


class Alone(TorchConfig):  # type: ignore[misc]  # ray is untyped to the checker
    """One worker needs no process group, whose store would listen on every interface."""

    @property
    def backend_cls(self) -> Any:
        return Backend


def work(settings: dict[str, str]) -> None:
    """Run the recipe, then learn from preferences; `settings` are a config as JSON, and dataset and output as paths."""
    config = Config.model_validate_json(settings["config"])
    output, rank = Path(settings["output"]), get_context().get_world_rank()
    progress.write(output, "train", message=f"worker {rank} is process {os.getpid()} on {os.uname().nodename}")
    dataset, device = Path(settings["dataset"]), get_device()
    taught = lesson.imitation(config, dataset, decision.settled(output, config))
    run = recipe.train(config, taught, output, device)
    if config.search:
        recipe.judge(run)  # the whole data's point of the curve over data sizes
    preferring.train(config, dataset, output, device)
