"""How far each kind of request has come under a student, from the promotions so far; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from protos import events_pb2 as events

ALL_KINDS = frozenset({events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_CASCADE})


@dataclass(frozen=True)
class Standing:
    """Where a kind stands: the student's part of it, since when it answers so, and how often it was set back."""

    share: float
    since: datetime
    setbacks: int


def reign(promotions: Sequence[events.Promotion]) -> Sequence[events.Promotion]:
    """The latest promotions, in order of time, as far as they are of one student."""
    first = len(promotions)
    while first and promotions[first - 1].student_version == promotions[-1].student_version:
        first -= 1
    return promotions[first:]


def standing(promotions: Sequence[events.Promotion], kind: str) -> Standing:
    """Of a kind ("" are those that have no share of their own), by the promotions of one student; at least one.

    A cascade with another threshold is another way of answering, and what was counted before says nothing of it.
    """
    shares = [share(one.policy, kind) for one in promotions]
    thresholds = [one.policy.min_confidence for one in promotions]
    ways = list(zip(shares, thresholds, strict=True))
    changed = max((n for n in range(1, len(ways)) if ways[n] != ways[n - 1]), default=0)
    setbacks = sum(after < before for before, after in pairwise(shares))
    return Standing(shares[-1], decided_at(promotions[changed]), setbacks)


def share(policy: events.Policy, kind: str) -> float:
    """The part of the calls of a kind that the student answers."""
    if policy.kind == events.POLICY_KIND_SHARE:
        return float(policy.share_of_kind.get(kind, policy.share))
    return float(policy.kind in ALL_KINDS)


def decided_at(promotion: events.Promotion) -> datetime:
    """UTC."""
    at: datetime = promotion.decided_at.ToDatetime(tzinfo=UTC)
    return at
