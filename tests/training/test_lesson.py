"""What a config may ask of a lesson, and of the recipe that teaches it to a student that writes."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.test_recipe import losses
from tests.training.tiny import train
from training import lesson
from training.config import Config, Lora


@pytest.mark.parametrize(
    "changed",
    [
        {"lora": Lora(dora=True)},
        {"lora": Lora(rslora=True)},
        {"tuning": "full"},
        {"schedule": "constant"},
        {"pack_tokens": 64},
        {"gradient_checkpointing": True},
    ],
    ids=str,
)
def test_it_learns_in_every_way_that_a_config_may_ask_for(
    config: Config, dataset: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    train(config.model_copy(update={"epochs": 3, **changed}), dataset, tmp_path)
    curve = losses(tmp_path)
    assert curve[-1][1] < 0.8 * curve[0][1]


def test_computing_blocks_twice_changes_no_loss(config: Config, dataset: Path, tmp_path: Path) -> None:
    train(config, dataset, tmp_path / "once")
    train(config.model_copy(update={"gradient_checkpointing": True}), dataset, tmp_path / "twice")
    once, twice = ([loss for _, loss, _ in losses(tmp_path / way)] for way in ("once", "twice"))
    assert once == pytest.approx(twice, rel=1e-6)


def test_a_larger_share_of_the_examples_holds_the_smaller_ones(config: Config) -> None:
    shares = [
        set(lesson.share(range(100), config.model_copy(update={"train_share": share}))) for share in (0.1, 0.5, 1.0)
    ]
    assert [len(share) for share in shares] == [10, 50, 100]
    assert shares[0] < shares[1] < shares[2]


def test_the_seed_decides_which_examples_are_taken(config: Config) -> None:
    half = config.model_copy(update={"train_share": 0.5})
    assert lesson.share(range(100), half) == lesson.share(range(100), half)
    assert lesson.share(range(100), half) != lesson.share(range(100), half.model_copy(update={"seed": 1}))
