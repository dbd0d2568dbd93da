"""What follows training: merge, export, evaluate, report; from the checkpoint that training left."""

import os
from pathlib import Path
from typing import Any

import torch

from training import (
    checkpoint,
    data,
    decision,
    evaluate,
    export,
    forgetting,
    kinds,
    manifest,
    preferring,
    progress,
    prune,
    report,
    tune,
)
from training.config import Config
from training.contract import CurvePoint, Job, Report
from training.judge import Judge


def finish(job: Job, config: Config, judge: Judge | None, seconds: dict[str, float]) -> None:
    """Leave `model/`, `triton/` and the report; `seconds` are what the stages before took, and are added to."""
    torch.set_num_threads(config.threads or len(os.sched_getaffinity(0)))  # in a task of Ray's it would be one
    state, tensors = _finished(job.output)
    student = kinds.kind(config, data.rows(job.dataset, "train", config.unread))
    with progress.stage(job.output, "merge", seconds):
        model = export.merge(config, student, preferring.learnt(job.output) or tensors["weights"], job.output)
    with progress.stage(job.output, "export", seconds):
        export.triton_version(config, student, model, job.max_tokens, job.output)
    with progress.stage(job.output, "evaluate", seconds):
        measured = evaluate.evaluate(job, config, judge)
        forgotten = forgetting.measured(config, job.output) if config.kind == "causal" else None
    with progress.stage(job.output, "report", seconds):
        more = {"forgetting": forgotten, "pruning": prune.told(job, config), "manifest": manifest.read(job.dataset)}
        report.write(_report(job, config, state, measured, seconds).model_copy(update=more), job.output)


def _report(
    job: Job, config: Config, state: checkpoint.State, measured: evaluate.Measured, seconds: dict[str, float]
) -> Report:
    curve = [
        CurvePoint(step=step, train_loss=loss, eval_loss=eval_loss, tokens_per_s=speed)
        for step, loss, eval_loss, speed in state.curve
    ]
    cut = _cut(state, config)
    return Report(
        task=job.task,
        train=state.examples,
        learning_curve=curve,
        seconds=seconds,
        train_tokens_per_s=state.tokens / max(state.elapsed_s, 1e-9),
        engine=config.engine,
        base_model=config.base_model,
        error_ceiling=job.error_ceiling,
        truth=job.truth,
        description=job.description,
        teacher_proves=job.teacher_proves,
        requests_per_day=job.requests_per_day,
        training_usd_per_hour=job.training_usd_per_hour,
        kind=config.kind,
        left_out=state.left_out,
        doubted=decision.told(job.output, config),
        preferences=preferring.told(job.output),
        search=tune.told(job.output),
        stopping="; ".join(filter(None, (cut, state.patience.told(state.step, config.patience)))),
        cut_short=bool(cut),
        **vars(measured),
    )


def _cut(state: checkpoint.State, config: Config) -> str:
    """What the report says of a run that the clock ended."""
    if not config.max_minutes or state.step >= state.steps or state.patience.spent(config.patience):
        return ""
    return f"was ended by the clock (`max_minutes: {config.max_minutes:g}`) after {state.step} of {state.steps} steps"


def _finished(output: Path) -> tuple[checkpoint.State, dict[str, Any]]:
    saved = checkpoint.load(output)
    if saved is None or not saved[0].finished:
        raise RuntimeError(f"training ended without a finished checkpoint in {output / 'checkpoints'}")
    return saved
