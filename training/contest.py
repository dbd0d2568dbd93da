"""Several candidates for one job: each is fitted as a job of its own, one is chosen, its report shows them all.

One that is to be pruned is fitted twice, and gives way to the same student on whole prompts if the golden set says so.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from training import check, choice, data, evaluate, kinds, progress, prune, report, scoring
from training.choice import Choice, Standing
from training.config import resolve
from training.contract import Candidate, Difference, Job, Pruning, Report
from training.prune import Settings


def run(job: Job, several: Settings, fit: Callable[[Job], None]) -> None:
    """Fit those that can do the task, choose, and leave the chosen one's files and the report in the job's output.

    `fit` does a job of a single student, or finds it done. Raises ValueError if no candidate can do the task.
    """
    refused = check.refusals(several)
    tried = prune.tried(job, {name: settings for name, settings in several.items() if name not in refused})
    jobs, unable = _those_that_can(job, tried.several)
    passed_over = {**refused, **tried.passed_over, **unable}
    if not jobs:
        raise ValueError(f"no candidate can do the task: {_listed(passed_over)}")
    twins = {short: whole for short, whole in tried.twins.items() if {short, whole} <= jobs.keys()}
    for place, (name, one) in enumerate(_sharing_a_look(jobs, twins).items(), 1):
        progress.write(job.output, "train", message=f"{name}, {place} of {len(jobs)}")
        fit(one)
    made = {name: Report.model_validate_json((one.output / "report.json").read_bytes()) for name, one in jobs.items()}
    costs = {short: _cost(jobs[short], jobs[whole]) for short, whole in twins.items()}
    chosen = _chosen(made, jobs, twins, costs)
    for folder in ("model", "triton"):
        _place(jobs[chosen.name].output / folder, job.output / folder)
    progress.write(job.output, "report", message=chosen.why)
    found = _whole(made, chosen, passed_over)
    report.write(found.model_copy(update={"pruning": _pruning(made, chosen.name, twins, costs)}), job.output)
    progress.write(job.output, "done")


def _those_that_can(job: Job, several: Settings) -> tuple[dict[str, Job], dict[str, str]]:
    """A job for each candidate that can do the task, and why the others can't."""
    jobs, passed_over = {}, {}
    for name, config in {name: resolve(settings) for name, settings in several.items()}.items():
        table = data.rows(job.dataset, "train", config.unread)
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


def _sharing_a_look(jobs: Mapping[str, Job], twins: Mapping[str, str]) -> dict[str, Job]:
    """The golden set decides between twins, so they share what a look at it may spend."""
    both = {*twins, *twins.values()}
    return {name: job.model_copy(update={"among": 2}) if name in both else job for name, job in jobs.items()}


def _cost(short: Job, whole: Job) -> Difference:
    """By how much more a student on pruned prompts errs on the golden set than its twin on whole ones."""
    return scoring.difference(evaluate.wrong(short.output), evaluate.wrong(whole.output))


def _chosen(
    made: Mapping[str, Report], jobs: Mapping[str, Job], twins: Mapping[str, str], costs: Mapping[str, Difference]
) -> Choice:
    """By the eval split; the golden set is asked only whether pruned prompts cost too much."""
    standings = {name: Standing(made[name].threshold, evaluate.judged(job.output)) for name, job in jobs.items()}
    chosen = choice.choose(standings)
    if chosen.name not in twins:
        return chosen
    margin = resolve(jobs[chosen.name].config).prune_margin
    return choice.accepted(chosen, twins[chosen.name], costs[chosen.name], margin)


def _pruning(
    made: Mapping[str, Report], chosen: str, twins: Mapping[str, str], costs: Mapping[str, Difference]
) -> Pruning | None:
    """What the chosen one leaves out, or would its twin; None if there is no such."""
    short = next((short for short, whole in twins.items() if chosen in (short, whole)), chosen)
    found = made[short].pruning
    return found and found.model_copy(update={"cost": costs.get(short), "used": short == chosen})


def _whole(made: Mapping[str, Report], chosen: Choice, passed_over: Mapping[str, str]) -> Report:
    """The chosen one's report, with what became of the others."""
    candidates = [_candidate(name, one, chosen) for name, one in made.items()]
    stages = dict.fromkeys(stage for one in made.values() for stage in one.seconds)
    seconds = {stage: sum(one.seconds.get(stage, 0.0) for one in made.values()) for stage in stages}
    more = {"candidates": candidates, "passed_over": dict(passed_over), "chosen": chosen.name, "why": chosen.why}
    return made[chosen.name].model_copy(update={**more, "seconds": seconds})


def _candidate(name: str, one: Report, chosen: Choice) -> Candidate:
    shared = ("kind", "base_model", "engine", "train", "left_out", "threshold", "student", "cascade", "calibration")
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
