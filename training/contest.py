"""Several candidates for one job: each is fitted as a job of its own, one is chosen, its report shows them all."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training import choice, data, evaluate, kinds, progress, report, scoring
from training.choice import Choice, Standing
from training.config import resolve
from training.contract import Candidate, Job, Report

Settings = Mapping[str, dict[str, Any]]
"""Configs by the candidates' names, the cheapest first."""


def run(job: Job, several: Settings, fit: Callable[[Job], None]) -> None:
    """Fit those that can do the task, choose, and leave the chosen one's files and the report in the job's output.

    `fit` does a job of a single student, or finds it done. Raises ValueError if no candidate can do the task.
    """
    jobs, passed_over = _those_that_can(job, several)
    if not jobs:
        raise ValueError(f"no candidate can do the task: {_listed(passed_over)}")
    for place, (name, one) in enumerate(jobs.items(), 1):
        progress.write(job.output, "train", message=f"{name}, {place} of {len(jobs)}")
        fit(one)
    made = {name: Report.model_validate_json((one.output / "report.json").read_bytes()) for name, one in jobs.items()}
    standings = {name: Standing(made[name].threshold, evaluate.judged(one.output)) for name, one in jobs.items()}
    chosen = _accepted(choice.choose(standings), jobs)
    for folder in ("model", "triton"):
        _place(jobs[chosen.name].output / folder, job.output / folder)
    progress.write(job.output, "report", message=chosen.why)
    report.write(_whole(made, chosen, passed_over), job.output)
    progress.write(job.output, "done")


def _those_that_can(job: Job, several: Settings) -> tuple[dict[str, Job], dict[str, str]]:
    """A job for each candidate that can do the task, and why the others can't."""
    table = data.rows(job.dataset, "train")
    jobs, passed_over = {}, {}
    for name, config in {name: resolve(settings) for name, settings in several.items()}.items():
        try:
            why = kinds.kind(config, table).objection(job.answer_kind, table)
        except (ValueError, OSError) as error:  # its base model is not here
            why = " ".join(str(error).split())
        if why:
            passed_over[name] = why
        else:
            output = job.output / "candidates" / name
            jobs[name] = job.model_copy(update={"output": output, "config": several[name]})
    return jobs, passed_over


def _accepted(chosen: Choice, jobs: Mapping[str, Job]) -> Choice:
    """The choice, once the golden set has been asked what pruning cost, where the same student without it is there."""
    configs = {name: resolve(one.config) for name, one in jobs.items()}
    config = configs[chosen.name]
    unpruned = config.model_copy(update={"prune": False})
    twin = next((name for name, one in configs.items() if one == unpruned), None)
    if twin is None or not config.prune:
        return chosen
    gap = scoring.difference(evaluate.wrong(jobs[chosen.name].output), evaluate.wrong(jobs[twin].output))
    return choice.accepted(chosen, twin, gap, config.prune_margin)


def _whole(made: Mapping[str, Report], chosen: Choice, passed_over: Mapping[str, str]) -> Report:
    """The chosen one's report, with what became of the others."""
    candidates = [_candidate(name, one, chosen) for name, one in made.items()]
    stages = dict.fromkeys(stage for one in made.values() for stage in one.seconds)
    seconds = {stage: sum(one.seconds.get(stage, 0.0) for one in made.values()) for stage in stages}
    more = {"candidates": candidates, "passed_over": dict(passed_over), "chosen": chosen.name, "why": chosen.why}
    return made[chosen.name].model_copy(update={**more, "seconds": seconds})


def _candidate(name: str, one: Report, chosen: Choice) -> Candidate:
    shared = ("kind", "base_model", "engine", "train", "left_out", "threshold", "student", "cascade")
    same = {field: getattr(one, field) for field in shared}
    return Candidate(name=name, on_eval=chosen.on_eval[name], seconds=sum(one.seconds.values()), **same)


def _place(made: Path, target: Path) -> None:
    """The same files under a second name where the disk allows it, in one piece."""
    part = target.with_name(f".{target.name}.part")
    for old in (part, target):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(made, part, copy_function=_linked)
    part.rename(target)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())
