"""How a student begins that a report supports, and which promotions a ramp may change; pure."""

from collections.abc import Sequence

from protos import events_pb2 as events
from services.controller.deciders import CONTROLLER
from services.controller.history import share
from services.controller.recalibration import TAKEN_BACK
from services.tasks import Task


def entered(task: Task, current: events.Promotion, supported: events.Policy) -> events.Policy:
    """By which policy a student begins whose report supports that one: unseen, where the task has a ramp.

    A student that takes the place of one that answers all calls begins with all of them: a promotion has one student,
    and the teacher would have to answer everything meanwhile. It is watched as at the end of a ramp.
    """
    if task.ramp is None or share(current.policy, "") == 1:
        return supported
    kind = events.POLICY_KIND_SHADOW
    return events.Policy(kind=kind, share=task.ramp.shadow, min_confidence=supported.min_confidence)


def way_on(current: events.Promotion, supported: events.Policy) -> events.Policy:
    """What a climb ends with: what the report supports, by the threshold in force, which may be a later one."""
    if supported.kind != events.POLICY_KIND_CASCADE or not current.policy.min_confidence < 0:
        return supported
    return events.Policy(kind=supported.kind, min_confidence=current.policy.min_confidence)


def climbing(reign: Sequence[events.Promotion]) -> bool:
    """Whether the latest of a student's promotions is a ramp's to change.

    What a person decided is not, unless it is to ask a student unseen that had no calls yet: so a ramp is begun. Nor is
    a cascade that was taken back for its threshold: a calibration may bring it again.
    """
    latest = reign[-1]
    if latest.reason.startswith(TAKEN_BACK):
        return False
    begun = latest.policy.kind == events.POLICY_KIND_SHADOW and not any(share(one.policy, "") for one in reign)
    return latest.student_version > 0 and (latest.decided_by == CONTROLLER or begun)


def succeeded(current: events.Promotion) -> bool:
    """Whether it took the place of another student that answered all: then that one is the way back."""
    another = current.previous_student_version not in (0, current.student_version)
    return another and share(current.policy, "") == share(current.previous_policy, "") == 1
