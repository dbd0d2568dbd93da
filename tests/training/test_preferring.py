import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.training.tiny import train, write_preferences
from training import model, preferring
from training.config import Config, Dpo
from training.data import Example
from training.preferring import Pair, Preferring

CPU = torch.device("cpu")
SHORT = Pair(Example([5, 6], [7, 1], 1.0), Example([5, 6], [8, 9, 1], 1.0), reference=0.25)
LONG = Pair(Example([20, 21, 22], [23, 24, 1], 1.0), Example([20, 21, 22], [25, 1], 1.0), reference=-1.0)


def test_the_loss_is_the_published_one() -> None:
    """By hand, from the four log-probabilities: -log sigmoid(beta ((pi_w - ref_w) - (pi_l - ref_l)))."""
    chosen, rejected, chosen_reference, rejected_reference = -4.0, -6.0, -5.0, -5.5
    by_hand = -math.log(1 / (1 + math.exp(-0.1 * ((chosen - chosen_reference) - (rejected - rejected_reference)))))
    margins = torch.tensor([chosen - rejected])
    reference = torch.tensor([chosen_reference - rejected_reference])
    assert preferring.losses(margins, reference, beta=0.1).item() == pytest.approx(by_hand, rel=1e-6)


def test_before_the_first_step_every_pair_costs_the_logarithm_of_two() -> None:
    assert preferring.losses(torch.tensor([3.0]), torch.tensor([3.0]), 0.5).item() == pytest.approx(math.log(2))


def test_a_margin_is_the_difference_of_the_answers_log_probabilities(tiny_base: Path, config: Config) -> None:
    student = model.student(tiny_base, config, bf16=False)
    with torch.no_grad():
        by_hand = [said(student, pair.chosen) - said(student, pair.rejected) for pair in (SHORT, LONG)]
        margins = Preferring(student, 0.1).margins(preferring.collate([SHORT, LONG], pad=1))
    assert margins.tolist() == pytest.approx(by_hand, rel=1e-4)


def said(student: model.Student, example: Example) -> float:
    """The log-probability of the completion, from logits at every position."""
    ids = torch.tensor([example.prompt + example.completion])
    logits = student.model(ids).logits[0]
    nats = functional.log_softmax(logits, dim=-1).gather(
        1, ids[0, 1:, None].new_tensor([*ids[0, 1:].tolist(), 0])[:, None]
    )[:, 0]
    return float(nats[len(example.prompt) - 1 : -1].sum())


def test_the_parts_of_a_batch_add_up_to_its_weighted_loss(tiny_base: Path, config: Config) -> None:
    student = Preferring(model.student(tiny_base, config, bf16=False), 0.1)
    with torch.no_grad():
        both = student(preferring.collate([SHORT, LONG], pad=1))
        apart = [student(preferring.collate([pair], pad=1)) for pair in (SHORT, LONG)]
    assert both.item() == pytest.approx(sum(apart).item(), rel=1e-5)


@pytest.fixture
def preferences(dataset: Path, tmp_path: Path) -> Path:
    target = tmp_path / "dataset"
    target.mkdir()
    return write_preferences(dataset, target)


def test_held_out_preferences_are_held_likelier_afterwards(config: Config, preferences: Path, tmp_path: Path) -> None:
    config = config.model_copy(update={"epochs": 3, "dpo": Dpo(epochs=3, learning_rate=3e-3)})
    train(config, preferences, tmp_path / "out")
    preferring.train(config, preferences, tmp_path / "out", CPU)
    told = preferring.told(tmp_path / "out")
    assert told is not None
    assert (told.pairs, told.held_out) == (40, 10)
    assert told.margin_gain is not None
    assert told.margin_gain.low > 0
    assert told.preferred_after >= told.preferred_before
    learnt = preferring.learnt(tmp_path / "out")
    tuned = model.merged(config.base_model, config, learnt, torch.float32)
    assert tuned.config.vocab_size > 0


def test_it_is_not_done_twice(config: Config, preferences: Path, tmp_path: Path) -> None:
    config = config.model_copy(update={"dpo": Dpo()})
    train(config, preferences, tmp_path / "out")
    preferring.train(config, preferences, tmp_path / "out", CPU)
    written = (tmp_path / "out" / "dpo" / "checkpoints" / "last.pt").stat().st_mtime_ns
    preferring.train(config, preferences, tmp_path / "out", CPU)
    assert (tmp_path / "out" / "dpo" / "checkpoints" / "last.pt").stat().st_mtime_ns == written


def test_too_few_pairs_teach_nothing_and_the_report_says_so(config: Config, dataset: Path, tmp_path: Path) -> None:
    config = config.model_copy(update={"dpo": Dpo(least_pairs=5)})
    preferring.train(config, dataset, tmp_path, CPU)
    told = preferring.told(tmp_path)
    assert told is not None
    assert told.why == "no preferences were learnt: 0 pairs to train on, of the 5 wanted"
    assert preferring.learnt(tmp_path) == {}
