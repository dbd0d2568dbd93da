"""A run's steps and who goes when; pure.

A run's recorded state says what is under way; the facts say what has come of it. Every step can be done again from
its beginning, so a controller that was killed anywhere asks the same question of the same facts and carries on.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from protos import events_pb2 as events
from services.controller.deciders import CONTROLLER
from services.controller.verdict import Verdict
from services.tasks import Task

ENDED: Final = frozenset({events.RUN_STATE_DONE, events.RUN_STATE_FAILED})


class Step(Enum):
    """What a run does next; the values are the states in which it is done."""

    SNAPSHOT = events.RUN_STATE_SNAPSHOT
    TRAINING = events.RUN_STATE_TRAINING
    JUDGING = events.RUN_STATE_JUDGING
    LOADING = events.RUN_STATE_LOADING
    DONE = events.RUN_STATE_DONE
    FAILED = events.RUN_STATE_FAILED


@dataclass(frozen=True)
class Facts:
    """What can be seen of a run from outside."""

    snapshot_taken: bool = False  # its dataset is there, whole
    verdict: Verdict | None = None  # on its report; None without a report
    decided: bool = False  # a promotion of its task was recorded since it came to loading
    failure: str = ""  # why it cannot go on


@dataclass(frozen=True)
class Counts:
    """How many examples a task has to learn from and to prove with."""

    train: int
    eval: int
    golden: int
    uncorrected: int  # train and eval candidates whose answer is the teacher's word alone


def next_step(run: events.Run, facts: Facts) -> Step:
    """What to do with a run that has not ended."""
    if facts.failure:
        return Step.FAILED
    if facts.verdict is None:
        return Step.TRAINING if facts.snapshot_taken else Step.SNAPSHOT
    if run.state < events.RUN_STATE_JUDGING:
        return Step.JUDGING
    # A decision recorded since loading began is this run's own, or a person's, which it does not overrule.
    return Step.LOADING if facts.verdict.promote and not facts.decided else Step.DONE


@dataclass(frozen=True)
class Numbers:
    """What a new run takes for itself."""

    run_id: str
    snapshot: int
    student_version: int


def decided_since(run: events.Run, current: events.Promotion) -> bool:
    """Whether the task's promotion is this run's own, or was decided by a person after the run came to loading.

    What a ramp decides meanwhile is of the student whose place this one takes.
    """
    loading = run.state == events.RUN_STATE_LOADING
    later = current.decided_at.ToNanoseconds() > run.updated_at.ToNanoseconds()
    return current.run_id == run.id or bool(loading and later and current.decided_by != CONTROLLER)


def begin(task: Task, overrides: Mapping[str, Any], numbers: Numbers, now: datetime) -> events.Run:
    """A run at its start, with its numbers taken."""
    run = events.Run(
        id=numbers.run_id,
        task=task.name,
        snapshot=numbers.snapshot,
        student_version=numbers.student_version,
        config=json.dumps(config(task, overrides)),
    )
    run.started_at.FromDatetime(now)
    return advanced(run, Step.SNAPSHOT, now)


def config(task: Task, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of the task trains by: the task's settings, and what was asked for over them."""
    return laid_over({"from": task.student.training, **task.student.overrides}, overrides)


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them. A key "lora.rank" means the key "rank" within "lora"; {} takes nothing away."""
    both = dict(under)
    for name, value in over.items():
        outer, _, inner = name.partition(".")
        section = {inner: value} if inner else value
        both[outer] = laid_over(both.get(outer) or {}, section) if inner or section == {} else value
    return both


def advanced(run: events.Run, step: Step, now: datetime) -> events.Run:
    """The run in the step's state. `updated_at` always grows, whatever the clock does: the latest counts."""
    later = events.Run()
    later.CopyFrom(run)
    later.state = step.value
    later.updated_at.FromDatetime(max(now, _utc(run.updated_at) + timedelta(microseconds=1)))
    return later


def to_carry_on(runs: Iterable[events.Run], going: Collection[str], at_once: int) -> list[events.Run]:
    """The runs to take up now: each task's oldest that has not ended, unless it is `going` (run ids) already."""
    first: dict[str, events.Run] = {}
    for run in sorted(runs, key=lambda run: run.id):  # UUIDv7: in order of time
        if run.state not in ENDED:
            first.setdefault(run.task, run)
    waiting = [run for run in first.values() if run.id not in going]
    return waiting[: max(0, at_once - len(going))]


def lacking(task: Task, counts: Counts) -> str:
    """What a task lacks for a run, for people; '' if nothing."""
    if not counts.train:
        return f"task {task.name} has no train candidate: send requests, or `tutelage import` logs"
    if not counts.eval:
        return f"task {task.name} has no eval candidate, which choose the threshold: send more requests"
    if counts.uncorrected and not task.teacher.may_be_trained_on:
        return (
            f"task {task.name}: teacher.may_be_trained_on is false, and {counts.uncorrected} candidates "
            "have no person's correction"
        )
    return ""


def unlicensed(task: Task, counts: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a snapshot with these counts in its manifest may not be trained on now, for people; '' if it may.

    It may have been taken while the teacher's licence was thought to allow it. Every pair of preferences holds an
    answer of the teacher's, as the rejected one.
    """
    if task.teacher.may_be_trained_on:
        return ""
    rows = sum(counts[split]["rows"] - counts[split]["corrected"] for split in ("train", "eval"))
    rows += counts.get("preferences", {}).get("rows", 0)
    return (
        f"task {task.name}: teacher.may_be_trained_on is false, and {rows} examples of the snapshot hold the teacher's "
        "answer without a person's word. Leave the snapshot out: a new one is taken without them"
        if rows
        else ""
    )


def may_be_due(task: Task, runs: Iterable[events.Run]) -> bool:
    """Whether new candidates may start a run by themselves: the task wants it, and none of its runs goes on."""
    return task.sampling.run_at_candidates > 0 and all(run.state in ENDED for run in runs if run.task == task.name)


def next_number(taken: Iterable[int]) -> int:
    """The number after all that were ever taken, from 1."""
    return max(taken, default=0) + 1


def superfluous(versions: Iterable[int], needed: Collection[int], newest: int) -> list[int]:
    """The student versions to remove: all but those `needed` and the `newest` so many."""
    ordered = sorted(versions)
    kept = set(needed) | set(ordered[-newest:])
    return [version for version in ordered if version not in kept]


def _utc(stamp: Any) -> datetime:
    moment: datetime = stamp.ToDatetime(tzinfo=UTC)
    return moment
