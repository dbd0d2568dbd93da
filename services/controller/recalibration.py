"""What a calibration makes of the promotion that serves; pure.

It changes a cascade's threshold, and takes the cascade back where the target is surely not met: then the student goes
on unseen, and so does the calibration, which may bring the cascade again.
"""

from dataclasses import dataclass
from typing import Final

from protos import events_pb2 as events
from services.controller.calibration import Calibration, Outcome, Point

LEAST_CHANGE: Final = 0.02
"""Of the calls: a threshold that keeps less more or fewer is left alone, or it would change with every few calls."""
TAKEN_BACK: Final = "the cascade is taken back: "
"""How the reason of such a promotion begins, by which it is known again."""


@dataclass(frozen=True)
class Change:
    """How to serve from now on, and why."""

    policy: events.Policy
    reason: str
    sets_back: bool  # Fewer calls get the student's answer.


def concerns(current: events.Promotion) -> bool:
    """Whether the promotion is one whose threshold is calibrated."""
    taken_back = current.policy.kind == events.POLICY_KIND_SHADOW and current.reason.startswith(TAKEN_BACK)
    return bool(current.student_version) and (current.policy.kind == events.POLICY_KIND_CASCADE or taken_back)


def change(current: events.Promotion, found: Calibration, serving: Point) -> Change | None:
    """What to do; None leaves it as it is. `serving`: what the threshold in force comes to on the same calls."""
    cascade = current.policy.kind == events.POLICY_KIND_CASCADE
    if found.point is not None:
        return _moved(found, found.point, serving.kept if cascade else 0.0, cascade)
    if cascade and (found.outcome is Outcome.UNREACHABLE or serving.surely_above):
        policy = events.Policy(kind=events.POLICY_KIND_SHADOW, min_confidence=current.policy.min_confidence)
        return Change(policy, f"{TAKEN_BACK}{_against(found, serving)}", sets_back=True)
    return None


def _moved(found: Calibration, point: Point, kept: float, cascade: bool) -> Change | None:
    if cascade and abs(point.kept - kept) < LEAST_CHANGE:
        return None
    policy = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=point.threshold)
    return Change(policy, found.reason, sets_back=cascade and point.kept < kept)


def _against(found: Calibration, serving: Point) -> str:
    if found.outcome is Outcome.UNREACHABLE:
        return found.reason
    return (
        f"at the threshold in force, {serving.threshold:.4g}, {serving.wrong} of {serving.counted} were wrong, surely "
        f"above the target; {found.reason}"
    )
