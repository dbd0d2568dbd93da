"""From a report to a verdict: the policy by which training's rule lets a task be served; pure."""

import math
from dataclasses import dataclass

from protos import events_pb2 as events
from services.tasks import Task
from training import verdict as proven
from training.contract import Report
from training.verdict import Rule


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, what to serve by (teacher only if not), and why, with the figures."""

    promote: bool
    policy: events.Policy
    reason: str


def judge(report: Report, task: Task) -> Verdict:
    """The verdict on a run's student."""
    found = proven.judge(report, _rule(task))
    return Verdict(found.way is not None, _policy(found.way, report), found.reason)


def objection(report: Report, task: Task, policy: events.Policy) -> str:
    """Why the report does not support `policy`, with its figures; '' if it does. If the teacher answers, none need."""
    match policy.kind:
        case events.POLICY_KIND_TEACHER_ONLY | events.POLICY_KIND_SHADOW:  # callers get the teacher's answers
            return ""
        case events.POLICY_KIND_CASCADE | events.POLICY_KIND_SHARE if _is_cascade(policy):
            if not math.isclose(policy.min_confidence, report.threshold, abs_tol=1e-9):
                return (
                    f"min_confidence {policy.min_confidence:g} was not measured; the report proves {report.threshold:g}"
                )
            return proven.objection(report, _rule(task), "cascade")
        case _:  # A share of the calls is answered by the student alone, so it needs the same proof.
            return proven.objection(report, _rule(task), "student")


def _is_cascade(policy: events.Policy) -> bool:
    """Whether what the student is asked is kept only where it is sure; of a share this is so if it has a threshold."""
    return policy.kind == events.POLICY_KIND_CASCADE or policy.min_confidence < 0


def _policy(way: proven.WayName | None, report: Report) -> events.Policy:
    match way:
        case "student":
            return events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)
        case "cascade":
            return events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=report.threshold)
        case None:
            return events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)


def _rule(task: Task) -> Rule:
    return Rule(task.error_ceiling, task.proof == "teacher")
