from pathlib import Path

import pytest
import torch

from training import checkpoint, recipe
from training.config import Config
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
    recipe.train(config.model_copy(update={"epochs": 6}), dataset, tmp_path, CPU)
    curve = losses(tmp_path)
    assert curve[-1][1] < curve[0][1] / 2
    assert [step for step, _, eval_loss in curve if eval_loss is not None] == [18, 36]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    config: Config, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"epochs": 2, "checkpoint_every_s": 0})
    recipe.train(config, dataset, tmp_path / "whole", CPU)
    step = Run.step

    def step_until_killed(run: Run, share: float) -> float:
        if run.state.step == 5:
            raise KilledError
        return step(run, share)

    monkeypatch.setattr(Run, "step", step_until_killed)
    with pytest.raises(KilledError):
        recipe.train(config, dataset, tmp_path / "killed", CPU)
    monkeypatch.undo()
    recipe.train(config, dataset, tmp_path / "killed", CPU)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(config: Config, dataset: Path, tmp_path: Path) -> None:
    recipe.train(config, dataset, tmp_path, CPU)
    before = (tmp_path / "train.jsonl").read_text()
    recipe.train(config, dataset, tmp_path, CPU)
    assert (tmp_path / "train.jsonl").read_text() == before


def test_a_spent_budget_ends_the_run_early_with_what_it_has(config: Config, dataset: Path, tmp_path: Path) -> None:
    recipe.train(config.model_copy(update={"epochs": 100, "max_minutes": 1e-3}), dataset, tmp_path, CPU)
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved[0].finished
    assert 0 < saved[0].step < 600


def test_the_parts_of_two_workers_add_up_to_the_batch(config: Config, dataset: Path, tmp_path: Path) -> None:
    whole = Run(config, dataset, tmp_path, ALONE)
    batch = whole.batches[0]
    parts = []
    for rank in range(2):
        whole.here = Place(rank=rank, size=2, device=CPU, bf16=False)
        parts.append(whole._mean_loss(whole.examples, batch).item())
    whole.here = ALONE
    assert sum(parts) == pytest.approx(whole._mean_loss(whole.examples, batch).item(), rel=1e-5)


def test_a_worker_without_an_example_stays_in_step_at_no_weight(config: Config, dataset: Path, tmp_path: Path) -> None:
    run = Run(config, dataset, tmp_path, ALONE)
    idle = Place(rank=1, size=2, device=CPU, bf16=False)
    assert [example.weight for example in idle.part(run.examples, [3])] == [0.0]
