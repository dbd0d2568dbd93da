"""The search for settings, on Ray Tune: trials that learn in part, ended early where others do better (ASHA).

Every trial runs the recipe with other settings and tells its held-out loss at each evaluation. The one with the lowest
last loss wins. Then the winner's settings learn from parts of the data, for the curve that tells whether more would
help. A search that was interrupted is begun again: trials that had ended are not run again.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA).
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from training import contract, decision, growth, lesson, recipe, space
from training.config import Config, Range, Search
from training.contract import DataPoint, Trial
from training.recipe import Run
from training.space import Settings


def search(config: Config, wanted: Search, dataset: Path, output: Path) -> Config:
    """The config with the winning settings. Needs a connection to Ray; leaves `search.json` and `trials/`.

    `output` is a folder of the job's own output, in which stands what is to be learnt of doubtful answers.
    """
    written, alone = output / "search.json", config.model_copy(update={"search": None})
    if not written.is_file():
        output.mkdir(parents=True, exist_ok=True)
        tried = _tried(alone, wanted, dataset, output)
        best = _best(tried)
        points = _sizes(space.chosen(alone, best), wanted, dataset, output)
        found = {"chosen": best, "trials": [trial.model_dump() for trial in tried], "points": points}
        written.write_text(json.dumps(found))
    won = space.chosen(alone, json.loads(written.read_text())["chosen"])
    return won.model_copy(update={"search": wanted})


def told(output: Path) -> contract.Search | None:
    """What the report of a run says of its search; None where there was none."""
    if not (written := output / "search" / "search.json").is_file():
        return None
    found = json.loads(written.read_text())
    whole = output / "held_out.json"
    points = [DataPoint.model_validate(point) for point in found["points"]]
    points += [DataPoint.model_validate_json(whole.read_text())] if whole.is_file() else []
    return contract.Search(trials=found["trials"], chosen=found["chosen"], growth=growth.growth(points))


def _tried(config: Config, wanted: Search, dataset: Path, output: Path) -> list[Trial]:
    """All trials of the space, the best ones to their end."""
    draws = {path: _draw(choices) for path, choices in space.flat(wanted.space)}
    most = max(1, config.evaluations)
    asha = ASHAScheduler(max_t=most, grace_period=min(wanted.grace, most), reduction_factor=2)
    plan = {"scheduler": asha, "num_samples": wanted.trials, "max_concurrent_trials": wanted.at_once}
    return [_trial(result, most) for result in _fit(config, draws, plan, dataset, output)]


def _sizes(config: Config, wanted: Search, dataset: Path, output: Path) -> list[dict[str, Any]]:
    """What the winner reaches on parts of the data. The whole is left to the run itself."""
    parts = [share for share in wanted.data_shares if share < 1]
    if parts:
        plan = {"num_samples": 1, "max_concurrent_trials": wanted.at_once}
        _fit(config, {"train_share": tune.grid_search(parts)}, plan, dataset, output)
    paths = [output / "trials" / directory(config, {"train_share": share}) / "held_out.json" for share in parts]
    found = [DataPoint.model_validate_json(path.read_text()) for path in paths if path.is_file()]
    return [point.model_dump() for point in found]


def _fit(
    config: Config, draws: Mapping[str, Any], plan: Mapping[str, Any], dataset: Path, output: Path
) -> Sequence[Any]:
    fixed = {"config": config.model_dump_json(), "dataset": str(dataset.absolute()), "output": str(output.absolute())}
    fixed["at_once"] = str(plan["max_concurrent_trials"])
    resources = {"cpu": 1, "gpu": config.gpus_per_worker}
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, fixed=fixed), resources),
        param_space=dict(draws),
        tune_config=tune.TuneConfig(metric="eval_loss", mode="min", reuse_actors=True, **plan),
        run_config=tune.RunConfig(storage_path=str(output.absolute()), name="tune", verbose=0),
    ).fit()
    return list(results)


def trial(settings: Settings, fixed: Mapping[str, str]) -> None:
    """One trial, in a process of Ray's: learns, and tells its held-out loss as often as it is taken."""
    whole = Config.model_validate_json(fixed["config"])
    config = space.beside(space.chosen(whole, settings), int(fixed["at_once"]), len(os.sched_getaffinity(0)))
    output = Path(fixed["output"]) / "trials" / directory(whole, settings)
    taught = lesson.imitation(config, Path(fixed["dataset"]), decision.settled(Path(fixed["output"]).parent, config))
    device = torch.device("cuda" if config.gpus_per_worker else "cpu")
    seen = 0

    def tell(run: Run) -> None:
        nonlocal seen
        losses = [loss for _, _, loss, _ in run.state.curve if loss is not None]
        for loss in losses[seen:]:
            tune.report({"eval_loss": loss, "examples": run.state.examples, "steps": run.state.step})
        seen = len(losses)

    run = recipe.train(config, taught, output, device, tell)
    tell(run)  # what an earlier search had found, where it had ended
    recipe.judge(run)


def directory(config: Config, settings: Mapping[str, float]) -> str:
    """Where a trial's files lie: by all that it learns by."""
    return space.name({**space.chosen(config, settings).model_dump(mode="json")})


def _draw(choices: list[Any] | Range) -> Any:
    if isinstance(choices, Range):
        return (tune.loguniform if choices.log else tune.uniform)(choices.low, choices.high)
    return tune.choice(choices)


def _trial(result: Any, evaluations: int) -> Trial:
    told = result.metrics or {}
    loss = told.get("eval_loss")
    whole = told.get("training_iteration", 0) >= evaluations
    ended = "failed" if result.error or loss is None else "done" if whole else "stopped early"
    return Trial(
        settings=result.config,
        examples=told.get("examples", 0),
        steps=told.get("steps", 0),
        eval_loss=None if loss is None or math.isnan(loss) else loss,
        ended=ended,
    )


def _best(trials: Sequence[Trial]) -> Settings:
    """The settings of the lowest loss, but for the part of the data: the run itself learns from all of it."""
    known = [trial for trial in trials if trial.eval_loss is not None]
    if not known:
        raise RuntimeError("no trial of the search came to a held-out loss; are there eval examples?")
    won = min(known, key=lambda trial: trial.eval_loss or 0.0)
    return {path: value for path, value in won.settings.items() if path != "train_share"}
