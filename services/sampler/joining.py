"""Joins exchanges with what is said of them, in whatever order they come; pure but for the memory it is given."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.errors import BadEvent
from services.sampler.crowd import Remembered
from services.sampler.hardness import note
from services.sampler.memory import Kind, Memory
from services.sampler.novelty import NOVEL, Novelties
from services.sampler.sampling import (
    BY_A_PERSON,
    KEPT,
    NOTHING,
    Decision,
    Past,
    Said,
    Verdict,
    candidate,
    decide,
    fingerprint,
)
from services.tasks import Task, by_name

MOST_SKETCHES: Final = 50_000


class Joiner:
    """Takes events one by one and yields the candidates that follow. Raises BadEvent for what it can't use.

    An exchange that it is given becomes its own: what no decision looks at is taken out.
    """

    def __init__(self, tasks: Mapping[str, Task], memory: Memory, most_sketches: int = MOST_SKETCHES) -> None:
        self._tasks = tasks
        self._memory = memory
        self._crowd = Remembered(most_sketches)
        self._novelties = Novelties(tasks)

    def look_ahead(self, messages: Iterable[events.Exchange | events.FeedbackRecord]) -> None:
        """What is done for a whole batch at once, before its events are taken."""
        self._novelties.look_ahead(message for message in messages if isinstance(message, events.Exchange))

    def take(
        self, message: events.Exchange | events.FeedbackRecord, partition: int, now_s: float
    ) -> Iterator[events.Candidate]:
        """The candidates that this event makes, changes or takes back; a later one replaces an earlier of its id."""
        self._crowd.now_s = now_s
        if isinstance(message, events.Exchange):
            _required(message.id, "exchange", "id")
            note(message, *([NOVEL] if self._novelties.is_novel(message) else []))
            _slim(message)
            self._memory.put(Kind.EXCHANGE, message.id, message.SerializeToString(), partition, now_s)
            yield from self._judge(message, partition, now_s)
        else:
            _required(message.exchange_id, "feedback", "exchange_id")
            self._remember(message, partition, now_s)
            if known := self._memory.get(Kind.EXCHANGE, message.exchange_id):
                yield from self._judge(events.Exchange.FromString(known), partition, now_s)

    def _remember(self, record: events.FeedbackRecord, partition: int, now_s: float) -> None:
        """Keep the record as the latest of its kinds, unless a later one is known."""
        spoken = {Kind.RATING: record.HasField("rating"), Kind.CORRECTION: bool(record.correction.strip())}
        for kind in (kind for kind, said in spoken.items() if said):
            known = self._recall(kind, record.exchange_id)
            if known is None or known.created_at.ToNanoseconds() <= record.created_at.ToNanoseconds():
                self._memory.put(kind, record.exchange_id, record.SerializeToString(), partition, now_s)

    def _recall(self, kind: Kind, exchange_id: str) -> events.FeedbackRecord | None:
        known = self._memory.get(kind, exchange_id)
        return None if known is None else events.FeedbackRecord.FromString(known)

    def _said(self, exchange_id: str) -> Said:
        rating = self._recall(Kind.RATING, exchange_id)
        correction = self._recall(Kind.CORRECTION, exchange_id)
        if rating is None and correction is None:
            return NOTHING
        return Said(rating.rating if rating else 0.0, correction.correction if correction else "")

    def _judge(self, exchange: events.Exchange, partition: int, now_s: float) -> Iterator[events.Candidate]:
        task, said = self._task(exchange), self._said(exchange.id)
        mark = fingerprint(task, exchange.request)
        owner, kept_at = _chosen(self._memory.get(Kind.QUESTION, mark))
        past = Past(owner not in {"", exchange.id}, kept_at if owner == exchange.id else 0.0)
        decision = decide(task, exchange, said, past, self._crowd)
        _counter(task.name, decision.verdict).inc()
        now = _moment(now_s)
        if decision.verdict in BY_A_PERSON and owner not in {"", exchange.id}:
            yield from self._displace(owner, exchange.id, now)
        if decision.verdict in KEPT and owner != exchange.id:
            self._crowd.choose(task, exchange)
            chosen = f"{exchange.id} {decision.probability!r}"
            self._memory.put(Kind.QUESTION, mark, chosen.encode(), partition, now_s)
        if made := candidate(task, exchange, said, decision, now):
            yield made

    def _displace(self, owner: str, by: str, now: Timestamp) -> Iterator[events.Candidate]:
        """Take back the teacher's answer to a question that a person has now answered in another exchange."""
        known = self._memory.get(Kind.EXCHANGE, owner)
        if known is None:
            return
        other, said = events.Exchange.FromString(known), self._said(owner)
        task = self._task(other)
        if decide(task, other, said, Past(kept_at=1.0)).verdict is Verdict.CHOSEN:
            taken_back = Decision(Verdict.EXCLUDED, f"a person answered the same question in {by}")
            if made := candidate(task, other, said, taken_back, now):
                yield made

    def _task(self, exchange: events.Exchange) -> Task:
        try:
            return by_name(self._tasks, exchange.request.task)
        except KeyError as error:
            raise BadEvent(str(error.args[0])) from error


def _chosen(known: bytes | None) -> tuple[str, float]:
    """Which exchange was chosen for a question, and with which probability; what older versions wrote had none."""
    owner, _, probability = (known or b"").decode().partition(" ")
    return owner, float(probability or 1.0)


def _required(value: str, what: str, name: str) -> None:
    if not value:
        raise BadEvent(f"{what} without {name}")


def _slim(exchange: events.Exchange) -> None:
    """Take out what no decision looks at: the student's attempts, and the teacher's that says what the reply does."""
    asked = [attempt for attempt in exchange.attempts if attempt.backend == inference.BACKEND_TEACHER]
    if exchange.reply.answered_by == inference.BACKEND_TEACHER:
        asked = [attempt for attempt in asked if attempt.resumed_characters]
    exchange.ClearField("attempts")
    exchange.attempts.extend(asked[-1:])


@lru_cache(maxsize=1024)
def _counter(task: str, verdict: Verdict) -> Any:
    return telemetry.CANDIDATES.labels(task, verdict)


@lru_cache(maxsize=1)
def _moment(now_s: float) -> Timestamp:
    """The time of a batch as protobuf's; made once for all its events."""
    moment = Timestamp()
    moment.FromDatetime(datetime.fromtimestamp(now_s, UTC))
    return moment
