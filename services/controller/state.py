"""What was decided so far: runs, promotions, API keys. The topics are the truth; their latest values are in memory.

An event is the commit: nothing counts as done before Kafka has acknowledged it, and memory follows the topic. Only what
takes calls back from a student is in effect before (`foresee`): it lies on this disk until Kafka has it.
"""

from collections.abc import Mapping
from typing import Final

import structlog

from protos import events_pb2 as events
from services.controller.promotions import follows, unpromoted
from services.controller.watching import Watchers
from services.errors import BadEvent, Overloaded
from services.kafka import Follower, Producer
from services.topics import KEYS, PROMOTIONS, RUNS, Record, Topic, decode, encode

log = structlog.stdlib.get_logger("tutelage")

READ_AT_ONCE: Final = 500
Event = events.Run | events.Promotion | events.ApiKey
TOPIC: Final[Mapping[type[Event], Topic]] = {events.Run: RUNS, events.Promotion: PROMOTIONS, events.ApiKey: KEYS}


class State:
    """The latest run and key of each id and promotion of each task. May be read from any thread."""

    def __init__(self, producer: Producer, ack_timeout_s: float = 10.0) -> None:
        self._producer = producer
        self._ack_timeout_s = ack_timeout_s
        self._runs: dict[str, events.Run] = {}
        self._promotions: dict[str, events.Promotion] = {}
        self._keys: dict[str, events.ApiKey] = {}
        self.watchers = Watchers()

    def rebuild(self, *followers: Follower) -> None:
        """Read the topics to their ends. Raises Overloaded if Kafka does not answer."""
        for follower in followers:
            follower.start(timeout_s=self._ack_timeout_s)
            while not follower.caught_up():
                for record in follower.poll(READ_AT_ONCE, 0.2):
                    self._recall(record)

    def write(self, event: Event) -> None:
        """Commit an event. Raises Overloaded while Kafka has not acknowledged it; it may still arrive later."""
        if not self.settled(sent := self.send(event), self._ack_timeout_s):
            raise Overloaded("Kafka has not acknowledged the event yet; look at the status before trying again")
        if sent[0]:
            raise Overloaded(f"Kafka refused the event: {sent[0]}")

    def send(self, event: Event) -> list[str]:
        """Hand an event to the producer; what comes back is empty until Kafka has answered: '' or why it refused.

        It is sent once, however long that takes, as a second time might come after what overtook it.
        """
        answers: list[str] = []
        if isinstance(event, events.Run):
            self._keep_marks(event)

        def acked(error: str) -> None:
            if not error:  # also when it comes after we gave up waiting: what is on the topic counts
                self._absorb(event)
            answers.append(error)

        self._producer.send(encode(TOPIC[type(event)], event), acked)
        return answers

    def settled(self, sent: list[str], timeout_s: float) -> bool:
        """Whether Kafka has answered to what was sent, waiting for `timeout_s` at most."""
        self._producer.flush(timeout_s)
        return bool(sent)

    def foresee(self, promotion: events.Promotion) -> None:
        """Let it count before Kafka has it. It must be in the outbox."""
        self._absorb(promotion)

    def runs(self, task: str = "") -> list[events.Run]:
        """The runs of a task, or all; oldest first."""
        return sorted((run for run in list(self._runs.values()) if task in ("", run.task)), key=lambda run: run.id)

    def run(self, run_id: str) -> events.Run | None:
        """The run of that id, if there is one."""
        return self._runs.get(run_id)

    def known_run(self, run_id: str) -> events.Run:
        """The run of an id that this state gave out."""
        return self._runs[run_id]

    def promotion(self, task: str) -> events.Promotion:
        """What serves the task: teacher only where nothing was decided."""
        return self._promotions.get(task) or unpromoted(task)

    def keys(self) -> list[events.ApiKey]:
        """Every key, also those that were taken back."""
        return list(self._keys.values())

    def key(self, key_id: str) -> events.ApiKey | None:
        """The key of that id, if there is one."""
        return self._keys.get(key_id)

    def known_key(self, key_id: str) -> events.ApiKey:
        """The key of an id that this state gave out."""
        return self._keys[key_id]

    def _keep_marks(self, run: events.Run) -> None:
        """Whoever advances a run may have copied it before it was marked."""
        known = self._runs.get(run.id)
        marks = sorted({*run.erasures, *(known.erasures if known else ())})
        run.ClearField("erasures")
        run.erasures.extend(marks)

    def _recall(self, record: Record) -> None:
        try:
            self._absorb(decode(record))
        except BadEvent:  # Nobody else writes these topics; one bad record must not hide the rest.
            log.exception("skipped", topic=record.topic, offset=record.offset)

    def _absorb(self, event: Event) -> None:
        if isinstance(event, events.Promotion):
            self._promote(event)
        elif isinstance(event, events.ApiKey):
            if (known_key := self._keys.get(event.id)) is None or _older(known_key, event):
                self._keys[event.id] = event
        elif (known := self._runs.get(event.id)) is None or _older(known, event):
            self._runs[event.id] = event

    def _promote(self, event: events.Promotion) -> None:
        """An acknowledgement may come after what was foreseen since."""
        if not follows(event, self._promotions.get(event.task)):
            return
        told = self._promotions.get(event.task)
        self._promotions[event.task] = event
        if told is None or told.id != event.id:
            self.watchers.tell(event)


def _older(known: events.Run | events.ApiKey, event: events.Run | events.ApiKey) -> bool:
    return bool(known.updated_at.ToNanoseconds() <= event.updated_at.ToNanoseconds())
