"""Promotions and rollbacks as values; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protos import events_pb2 as events

TEACHER_ONLY: Final = events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)
STUDENT_KINDS: Final = frozenset(
    {events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_SHARE, events.POLICY_KIND_CASCADE, events.POLICY_KIND_SHADOW}
)


@dataclass(frozen=True)
class Decision:
    """Who decided, why and when; its id is a UUIDv7."""

    id: str
    reason: str
    decided_by: str
    at: datetime


def follows(made: events.Promotion, current: events.Promotion | None) -> bool:
    """Whether `made`, heard of later, takes the place of `current`: unless it was decided before it."""
    return current is None or made.decided_at.ToNanoseconds() >= current.decided_at.ToNanoseconds()


def takes_back(made: events.Promotion) -> bool:
    """Whether no caller gets a student's answer any more."""
    return made.policy.kind in {events.POLICY_KIND_TEACHER_ONLY, events.POLICY_KIND_SHADOW}


def unpromoted(task: str) -> events.Promotion:
    """What serves a task of which nothing was ever decided."""
    return events.Promotion(task=task, policy=TEACHER_ONLY, reason="nothing was promoted yet: the teacher answers")


def promote(
    current: events.Promotion, policy: events.Policy, run: events.Run | None, decision: Decision
) -> events.Promotion:
    """To serve by `policy` with the run's student from now on; remembers what it takes the place of."""
    made = _decided(current.task, decision)
    made.policy.CopyFrom(policy)
    made.student_version = run.student_version if run else 0
    made.run_id = run.id if run else ""
    made.previous_policy.CopyFrom(current.policy)
    made.previous_student_version = current.student_version
    return made


def roll_back(current: events.Promotion, run_ids: Mapping[int, str], decision: Decision) -> events.Promotion:
    """Back to what `current` took the place of. From there the way back is the teacher: two rollbacks end there.

    `run_ids`: the task's runs by the student version that they made.
    """
    made = _decided(current.task, decision)
    made.previous_policy.CopyFrom(TEACHER_ONLY)
    if current.previous_policy.kind in STUDENT_KINDS and current.previous_student_version > 0:
        made.policy.CopyFrom(current.previous_policy)
        made.student_version = current.previous_student_version
        made.run_id = run_ids.get(made.student_version, "")
    else:
        made.policy.CopyFrom(TEACHER_ONLY)
    return made


def adjusted(current: events.Promotion, policy: events.Policy, decision: Decision) -> events.Promotion:
    """The same student by another policy. The way back stays what it was: not to what has just been found wanting."""
    made = _decided(current.task, decision)
    made.policy.CopyFrom(policy)
    made.student_version, made.run_id = current.student_version, current.run_id
    made.previous_policy.CopyFrom(current.previous_policy)
    made.previous_student_version = current.previous_student_version
    return made


def set_back(
    current: events.Promotion, policy: events.Policy, run: events.Run | None, decision: Decision
) -> events.Promotion:
    """Back to a smaller part of the calls. A rollback from there is to the teacher, not up again to `current`."""
    made = promote(current, policy, run, decision)
    made.previous_policy.CopyFrom(TEACHER_ONLY)
    made.previous_student_version = 0
    return made


def versions_in_use(promotion: events.Promotion) -> set[int]:
    """The student versions that must stay loaded: the live one, and the one a rollback goes back to."""
    return {promotion.student_version, promotion.previous_student_version} - {0}


def _decided(task: str, decision: Decision) -> events.Promotion:
    made = events.Promotion(id=decision.id, task=task, reason=decision.reason, decided_by=decision.decided_by)
    made.decided_at.FromDatetime(decision.at)
    return made
