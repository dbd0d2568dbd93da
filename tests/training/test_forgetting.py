import math
from pathlib import Path

import pytest
import torch

from training import forgetting, model, weights
from training.config import Config
from training.data import Example


def test_texts_come_from_the_language_reference_evenly_and_the_same_each_time(config: Config) -> None:
    name, some = forgetting.texts(config)
    assert name == forgetting.REFERENCE
    assert len(some) == len(set(some)) == config.general_texts
    assert forgetting.texts(config)[1] == some


def test_a_file_of_ones_own_takes_their_place(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("\n\n".join(f"{number} " + "words " * 40 for number in range(3)) + "\n\nshort")
    _, some = forgetting.texts(config.model_copy(update={"general_file": file}))
    assert [text[0] for text in some] == ["0", "1", "2"]


def test_losses_are_those_of_each_text_alone(tiny_base: Path, config: Config) -> None:
    student = model.student(tiny_base, config, bf16=False)
    examples = [Example([5], [6, 7, 8], 1.0), Example([9], [10], 1.0)]
    together = forgetting.losses(student, examples)
    assert together == pytest.approx([forgetting.losses(student, [one])[0] for one in examples], rel=1e-5)


def test_an_unchanged_model_has_forgotten_nothing_and_a_broken_one_much(
    tiny_base: Path, config: Config, tmp_path: Path
) -> None:
    config = config.model_copy(update={"general_texts": 6})
    untaught = weights.weights(model.student(tiny_base, config, bf16=False))
    whole = model.merged(tiny_base, config, untaught, torch.float32)
    whole.save_pretrained(tmp_path / "model")
    same = forgetting.measured(config, tmp_path)
    assert same is not None
    assert (same.texts, same.nats_lost.difference) == (6, pytest.approx(0, abs=1e-5))
    assert same.perplexity_after == pytest.approx(same.perplexity_before)
    with torch.no_grad():
        whole.lm_head.weight.mul_(3)
    whole.save_pretrained(tmp_path / "model")
    broken = forgetting.measured(config, tmp_path)
    assert broken is not None
    assert broken.nats_lost.low > 0
    assert math.log(broken.perplexity_after / broken.perplexity_before) > 0


def test_none_is_measured_where_none_is_wanted(config: Config, tmp_path: Path) -> None:
    assert forgetting.measured(config.model_copy(update={"general_texts": 0}), tmp_path) is None
