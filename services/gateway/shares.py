"""Which calls a student has a part in, by stable hashes: those that it answers, and those about which both are asked.

Pure. A group is always on the same side of a share, and a growing share only adds groups to it.
"""

from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import Task, fraction

KIND: Final = "kind"
"""The tag of a request's metadata by which shares and scores are divided."""
SERVED: Final = frozenset(
    {events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_SHARE, events.POLICY_KIND_CASCADE, events.POLICY_KIND_SHADOW}
)
"""The policies under which a student has a part in the calls, answered or unseen."""


def place(task: Task, request: inference.Request, exchange_id: str) -> float:
    """Where the request's group stands among all groups, from 0 to below 1; without a group key, the call."""
    return fraction(request.group_key or exchange_id, salt=f"share {task.name}")


def students_share(policy: events.Policy, request: inference.Request) -> float:
    """With SHARE: the part of the calls of the request's kind that the student answers."""
    return policy.share_of_kind.get(request.metadata.get(KIND, ""), policy.share)


def is_cascade(policy: events.Policy) -> bool:
    """Whether the student's answer must be sure enough to be kept, in all calls that are asked of it."""
    return policy.kind == events.POLICY_KIND_CASCADE or (
        policy.kind == events.POLICY_KIND_SHARE and policy.min_confidence < 0
    )


def compared(
    task: Task, promotion: events.Promotion | None, request: inference.Request, exchange_id: str
) -> float | None:
    """The probability with which the call was chosen for both to be asked; None where it was not.

    Under SHADOW these are whole groups, the first to be the student's under a share; else single calls, of whoever's
    customers. Neither looks at the answer, so they are a fair sample of the task's calls.
    """
    if promotion is None or not promotion.student_version or promotion.policy.kind not in SERVED:
        return None
    if promotion.policy.kind == events.POLICY_KIND_SHADOW:
        share, at = promotion.policy.share or 1.0, place(task, request, exchange_id)
    else:
        share, at = task.compare.share, fraction(exchange_id, salt=f"compare {task.name}")
    return share if at < share else None
