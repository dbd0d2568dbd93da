from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny import train
from training import checkpoint
from training.checkpoint import State
from training.config import Config, Lora
from training.lesson import imitation
from training.recipe import Place, Run

CPU = torch.device("cpu")
ALONE = Place(rank=0, size=1, device=CPU, bf16=False)


@pytest.fixture(params=["causal", "tagger"])
def config(request: pytest.FixtureRequest, config: Config, tagging: Config) -> Config:
    return config if request.param == "causal" else tagging


class KilledError(Exception):
    pass


def losses(output: Path) -> list[tuple[int, float, float | None]]:
    saved = checkpoint.load(output)
    assert saved is not None
    return [(step, loss, eval_loss) for step, loss, eval_loss, _ in saved[0].curve]


def test_it_learns(config: Config, dataset: Path, tmp_path: Path) -> None:
    train(config.model_copy(update={"epochs": 6}), dataset, tmp_path)
    curve = losses(tmp_path)
    assert curve[-1][1] < curve[0][1] / 2
    assert [step for step, _, eval_loss in curve if eval_loss is not None] == [18, 36]


@pytest.mark.parametrize("killed_at", [1, 5, 11])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    config: Config, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Dropout's draws, the optimiser's moments and the patience spent are all part of what goes on."""
    fragile = {"lora": Lora(dropout=0.3), "patience": 9, "evaluations": 4}
    config = config.model_copy(update={"epochs": 2, "checkpoint_every_s": 0, **fragile})
    train(config, dataset, tmp_path / "whole")
    with pytest.raises(KilledError):
        killed(config, dataset, tmp_path / "killed", monkeypatch, killed_at)
    train(config, dataset, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    (one, ours), (other, theirs) = finished(tmp_path / "killed"), finished(tmp_path / "whole")
    assert one.patience == other.patience
    assert one.patience.best_loss is not None
    torch.testing.assert_close(ours["weights"], theirs["weights"], rtol=0, atol=0)


def killed(config: Config, dataset: Path, output: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    step = Run.step

    def step_until_killed(run: Run, share: float) -> float:
        if run.state.step == at:
            raise KilledError
        return step(run, share)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "step", step_until_killed)
        train(config, dataset, output)


def finished(output: Path) -> tuple[State, dict[str, Any]]:
    saved = checkpoint.load(output)
    assert saved is not None
    assert saved[0].finished
    return saved


def test_a_run_that_no_longer_improves_stops_and_keeps_its_best(config: Config, dataset: Path, tmp_path: Path) -> None:
    restless = config.model_copy(
        update={"epochs": 40, "evaluations": 40, "patience": 2, "learning_rate": 0.5, "schedule": "constant"}
    )
    train(restless, dataset, tmp_path)
    state, _ = finished(tmp_path)
    tested = {step: loss for step, _, loss, _ in state.curve if loss is not None}
    assert state.step < 240
    assert state.patience.best_step == min(tested, key=lambda step: tested[step]) < state.step
    run = Run(restless, imitation(restless, dataset), tmp_path, ALONE)  # picks up what was kept
    assert run.eval_loss() == pytest.approx(state.patience.best_loss, rel=1e-5)


def test_a_finished_run_is_not_run_again(config: Config, dataset: Path, tmp_path: Path) -> None:
    train(config, dataset, tmp_path)
    before = (tmp_path / "train.jsonl").read_text()
    train(config, dataset, tmp_path)
    assert (tmp_path / "train.jsonl").read_text() == before


def test_a_spent_budget_ends_the_run_early_with_what_it_has(config: Config, dataset: Path, tmp_path: Path) -> None:
    train(config.model_copy(update={"epochs": 100, "max_minutes": 1e-3}), dataset, tmp_path)
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved[0].finished
    assert 0 < saved[0].step < 600


def test_the_parts_of_two_workers_add_up_to_the_batch(config: Config, dataset: Path, tmp_path: Path) -> None:
    whole = Run(config, imitation(config, dataset), tmp_path, ALONE)
    batch = whole.batches[0]
    parts = []
    for rank in range(2):
        whole.here = Place(rank=rank, size=2, device=CPU, bf16=False)
        parts.append(whole._mean_loss(whole.examples, batch).item())
    whole.here = ALONE
    assert sum(parts) == pytest.approx(whole._mean_loss(whole.examples, batch).item(), rel=1e-5)


def test_a_worker_without_an_example_stays_in_step_at_no_weight(config: Config, dataset: Path, tmp_path: Path) -> None:
    run = Run(config, imitation(config, dataset), tmp_path, ALONE)
    idle = Place(rank=1, size=2, device=CPU, bf16=False)
    assert [example.weight for example in idle.part(run.examples, [3])] == [0.0]
