"""What serves each task now: follows topic `promotions` in a thread, so that a decision takes effect in a second.

A decision may come earlier by another way: see services.gateway.watch.
"""

import threading

from protos import events_pb2 as events
from services import telemetry
from services.errors import BadEvent
from services.gateway.following import Following
from services.kafka import Follower
from services.settings import KafkaSettings
from services.topics import PROMOTIONS, decode, name


class Promotions:
    """The latest promotion of every task. `current` is for any thread."""

    def __init__(self, settings: KafkaSettings, follower: Follower | None = None) -> None:
        self._current: dict[str, events.Promotion] = {}
        self._taking = threading.Lock()
        follower = follower or Follower(settings, PROMOTIONS.name)
        self._following = Following(follower, PROMOTIONS.name, lambda record: self.take(decode(record)))

    def current(self, task: str) -> events.Promotion | None:
        """The promotion that serves `task`; None where there was none yet: the teacher serves it."""
        return self._current.get(task)

    def take(self, promotion: events.Promotion) -> None:
        """From any thread: let it serve, unless the one that does is this or was decided later. Raises BadEvent."""
        check(promotion)
        with self._taking:
            known = self._current.get(promotion.task)
            if known == promotion or not follows(promotion, known):
                return
            self._current[promotion.task] = promotion
        _tell(promotion)

    async def start(self, wait_s: float = 5.0) -> None:
        """Read what is there, for `wait_s` at most, then go on in the background. Kafka may be away."""
        if not await self._following.start(wait_s):
            telemetry.log.warning("promotions are not read yet: tasks are served as if there were none")

    async def close(self) -> None:
        """Stop following."""
        await self._following.close()


def _tell(promotion: events.Promotion) -> None:
    telemetry.PROMOTED_VERSION.labels(promotion.task).set(promotion.student_version)
    telemetry.log.info(
        "promotion takes effect",
        task=promotion.task,
        policy=name(events.PolicyKind, promotion.policy.kind),
        student_version=promotion.student_version,
        decided_by=promotion.decided_by,
        reason=promotion.reason,
    )


def follows(promotion: events.Promotion, current: events.Promotion | None) -> bool:
    """Whether `promotion`, read later, takes the place of `current`: unless it was decided before it."""
    return current is None or _decided(promotion) >= _decided(current)


def _decided(promotion: events.Promotion) -> tuple[int, int]:
    return promotion.decided_at.seconds, promotion.decided_at.nanos


def check(promotion: events.Promotion) -> None:
    """Raise BadEvent unless it says of which task it is, and how that is served."""
    if not promotion.task:
        raise BadEvent("task is empty")
    if promotion.policy.kind not in events.PolicyKind.values() or not promotion.policy.kind:
        raise BadEvent(f"policy.kind {promotion.policy.kind} is unknown")
