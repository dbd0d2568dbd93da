"""A base model of two tiny blocks with random weights, and a dataset that it can learn something from."""

from pathlib import Path

import pytest
import torch

from tests.training.tiny import write_base, write_dataset, write_encoder, write_labelled, write_sorted
from training.config import Config


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of which one part stands in the question and another is chosen."""
    return write_sorted(tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), train=48, held_out=16, golden=16)


@pytest.fixture
def config(tiny_base: Path) -> Config:
    return Config(
        min_steps=1,
        base_model=str(tiny_base),
        batch_size=8,
        precision="fp32",
        threads=1,
        learning_rate=1e-2,
        evaluations=2,
    )


@pytest.fixture
def tagging(config: Config, tiny_encoder: Path) -> Config:
    """The same for a tagger."""
    return config.model_copy(update={"kind": "tagger", "engine": "encoder", "base_model": str(tiny_encoder)})


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
