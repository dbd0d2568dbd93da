"""What serves each task now: follows topic `promotions` in a thread, so that a decision takes effect in a second.

A decision may come earlier by another way: see services.gateway.watch.
"""

import asyncio
import threading
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from protos import events_pb2 as events
from services import telemetry
from services.errors import BadEvent, Overloaded
from services.kafka import Follower
from services.settings import KafkaSettings
from services.topics import PROMOTIONS, Record, decode, name

KAFKA_WAIT_S: Final = 2.0
POLL_S: Final = 0.5


class Promotions:
    """The latest promotion of every task. `current` is for any thread."""

    def __init__(self, settings: KafkaSettings, follower: Follower | None = None) -> None:
        self._follower = follower or Follower(settings, PROMOTIONS.name)
        self._current: dict[str, events.Promotion] = {}
        self._taking = threading.Lock()
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="promotions", daemon=True)

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
        self._thread.start()
        if not await asyncio.to_thread(self._caught_up.wait, wait_s):
            telemetry.log.warning("promotions are not read yet: tasks are served as if there were none")

    async def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        self._follower.close()

    def _follow(self) -> None:
        reach = Retrying(
            retry=retry_if_exception_type(Overloaded),
            wait=wait_exponential_jitter(multiplier=0.2, max=2, jitter=0.2),
            stop=stop_when_event_set(self._stopping),
            sleep=sleep_using_event(self._stopping),
            retry_error_callback=lambda _state: None,
        )
        reach(self._follower.start, KAFKA_WAIT_S)
        while not self._stopping.is_set():
            for record in self._follower.poll(500, POLL_S):
                self._read(record)
            if self._follower.caught_up():
                self._caught_up.set()

    def _read(self, record: Record) -> None:
        try:
            self.take(decode(record))
        except BadEvent as bad:
            telemetry.DEAD.labels(record.topic).inc()
            telemetry.log.error("not a promotion: skipped", offset=record.offset, reason=bad.reason)


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
