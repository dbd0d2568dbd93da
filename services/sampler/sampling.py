"""What may be trained on, and why; pure.

The order of the questions matters. The side of the wall comes first, so that nothing that happens later (a rating,
a duplicate, luck) can move a group across it. A person's word comes next and beats every filter but that one and the
answer's own form. Only then is the teacher's answer looked at, and by the validators, the dearest, only where the
question is among those that the rate keeps.

The task's validators are a free filter for label noise, and a bias with it: questions whose right answer does not
satisfy them (an implied value that does not stand in the input, say) reach the training set by corrections alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol

import xxhash
from google.protobuf.timestamp_pb2 import Timestamp

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sampler.hardness import reasons
from services.tasks import Task, answer_text, fraction, question, split, stratum, student_prompt
from services.topics import CUT_FROM, name
from services.validators import JsonSchema, OneOf, Regex, refusal

WHOLE: Final = frozenset({inference.FINISH_STOP, inference.FINISH_TOOL_CALLS})
"""Finishes of complete answers: by them exchanges are judged that tell no end, as those from before there were ends."""
FORM: Final = (JsonSchema, OneOf, Regex)
"""Validators of an answer's form; what a person corrects or praises must satisfy these, but may know better than the
others."""


class Verdict(StrEnum):
    """What became of an exchange; the label of the metric."""

    CHOSEN = "chosen"
    CORRECTED = "corrected"
    CONFIRMED = "confirmed"
    EXCLUDED = "excluded"
    GOLDEN = "golden"
    CUT = "cut"
    UNFINISHED = "unfinished"
    STUDENTS_OWN = "students_own"
    MIXED = "mixed"
    CACHED = "cached"
    NOT_LICENSED = "not_licensed"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    LEFT_OUT = "left_out"


BY_A_PERSON: Final = frozenset({Verdict.CORRECTED, Verdict.CONFIRMED})
KEPT: Final = BY_A_PERSON | {Verdict.CHOSEN}
EMITTED: Final = KEPT | {Verdict.EXCLUDED}


@dataclass(frozen=True)
class Said:
    """What callers have said of an exchange: the latest rating and the latest correction."""

    rating: float = 0.0
    correction: str = ""


NOTHING: Final = Said()


@dataclass(frozen=True)
class Past:
    """What is known of the question from earlier exchanges.

    `duplicate`: another exchange with its fingerprint has been chosen already. `kept_at`: this very one has, with that
    probability, and stays chosen; 0 if not.
    """

    duplicate: bool = False
    kept_at: float = 0.0


class Crowd(Protocol):
    """What others have asked so far, as far as it is remembered."""

    def is_near_duplicate(self, task: Task, exchange: events.Exchange, answer: str) -> bool:
        """Whether nearly the same question with the same answer has been chosen already."""

    def limit(self, task: Task, stratum: str, priority: float) -> float:
        """The priority below which an exchange of that sort is kept; its own is noted."""


class Nobody:
    """A crowd of none."""

    def is_near_duplicate(self, task: Task, exchange: events.Exchange, answer: str) -> bool:  # noqa: ARG002
        return False

    def limit(self, task: Task, stratum: str, priority: float) -> float:  # noqa: ARG002
        return 1.0


FIRST: Final = Past()
NOBODY: Final = Nobody()


@dataclass(frozen=True)
class Decision:
    """A verdict and its reason, for people."""

    verdict: Verdict
    reason: str
    probability: float = 1.0


def fingerprint(task: Task, request: inference.Request) -> str:
    """The same for two requests that look the same to the student, white space apart. 128 bits as hex."""
    text = " ".join(student_prompt(task, request).split())
    return xxhash.xxh3_128_hexdigest(f"{task.name}\x00{text}".encode())


def side(task: Task, exchange: events.Exchange) -> events.Split:
    """Which side of the wall; depends on the group key (the id where there is none) and the task's shares alone."""
    return split(task.sampling.split, exchange.request.group_key or exchange.id)


def decide(task: Task, exchange: events.Exchange, said: Said, past: Past = FIRST, crowd: Crowd = NOBODY) -> Decision:
    """The verdict on an exchange."""
    if aside := _set_aside(task, exchange):
        return aside
    if said.correction:
        return _on_correction(task, exchange, said.correction)
    if said.rating < 0:
        return Decision(Verdict.EXCLUDED, f"rated {said.rating:g} without a correction")
    if unfit := _unfit(task, exchange):
        return unfit
    if said.rating > 0:
        return _on_praise(task, exchange, said.rating)
    return _by_luck(task, exchange, past, crowd)


def _set_aside(task: Task, exchange: events.Exchange) -> Decision | None:
    """Why nothing that anybody says lets it be learnt from; None where something may."""
    if side(task, exchange) == events.SPLIT_GOLDEN:
        return Decision(Verdict.GOLDEN, "its group is set aside to prove")
    if CUT_FROM in exchange.request.metadata:
        return Decision(Verdict.CUT, "too large for Kafka: its texts are shortened")
    return None


def _on_correction(task: Task, exchange: events.Exchange, correction: str) -> Decision:
    if why := _malformed(task, exchange, correction):
        return Decision(Verdict.EXCLUDED, f"its correction is no answer to this task: {why}")
    return Decision(Verdict.CORRECTED, "corrected by a person")


def _on_praise(task: Task, exchange: events.Exchange, rating: float) -> Decision:
    if why := _malformed(task, exchange, answer_text(exchange.reply.message)):
        return Decision(Verdict.INVALID, f"rated {rating:g}, and yet no answer to this task: {why}")
    return Decision(Verdict.CONFIRMED, f"rated {rating:g}")


def _malformed(task: Task, exchange: events.Exchange, answer: str) -> str:
    """Why a text that a person stands by can't be learnt all the same; '' if it can."""
    form = [validator for validator in task.validators if isinstance(validator, FORM)]
    return refusal(form, question(exchange.request), answer)


def _unfit(task: Task, exchange: events.Exchange) -> Decision | None:
    """Why the answer can't be learnt from, whoever likes it; None where it can."""
    if exchange.outcome != events.OUTCOME_ANSWERED or not _complete(exchange.reply):
        ended = name(events.Outcome, exchange.outcome), name(inference.Finish, exchange.reply.finish)
        return Decision(Verdict.UNFINISHED, f"no whole answer: {', '.join(ended)}")
    if exchange.reply.answered_by != inference.BACKEND_TEACHER:
        return Decision(Verdict.STUDENTS_OWN, "the student's own answer")
    if any(attempt.resumed_characters and not attempt.refusal for attempt in exchange.attempts):
        return Decision(Verdict.MIXED, "the answer's beginning is the student's own")
    if not task.teacher.may_be_trained_on:
        return Decision(Verdict.NOT_LICENSED, "the teacher's licence keeps its answers out of training")
    return None


def _complete(reply: inference.Reply) -> bool:
    return reply.end == inference.END_COMPLETE if reply.end else reply.finish in WHOLE


def _by_luck(task: Task, exchange: events.Exchange, past: Past, crowd: Crowd) -> Decision:
    """The filters of answers that no person has judged, the cheapest first."""
    if exchange.reply.cached:
        return Decision(Verdict.CACHED, "another call's answer, which was looked at with that call")
    hard = tuple(reasons(exchange.request))
    if past.kept_at:
        return _kept(past.kept_at, hard)
    if past.duplicate:
        return Decision(Verdict.DUPLICATE, "the same question has been chosen already")
    return _by_priority(task, exchange, hard, crowd)


def _by_priority(task: Task, exchange: events.Exchange, hard: tuple[str, ...], crowd: Crowd) -> Decision:
    priority = _priority(task, exchange.request, hard)
    if priority >= task.sampling.rate:
        return Decision(Verdict.LEFT_OUT, f"not among the {task.sampling.rate:g} that are kept")
    answer = answer_text(exchange.reply.message)
    if not answer.strip():
        return Decision(Verdict.INVALID, "the answer is empty")
    if why := refusal(task.validators, question(exchange.request), answer):
        return Decision(Verdict.INVALID, f"the teacher's answer fails the task's validators: {why}")
    if crowd.is_near_duplicate(task, exchange, answer):
        return Decision(Verdict.DUPLICATE, "nearly the same question, with the same answer, has been chosen already")
    return _in_reservoir(task, exchange, priority, crowd, hard)


def _in_reservoir(
    task: Task, exchange: events.Exchange, priority: float, crowd: Crowd, hard: tuple[str, ...]
) -> Decision:
    limit = 1.0
    if task.sampling.strata.per_day:
        sort = stratum_of(task, exchange)
        limit = crowd.limit(task, sort, priority)
        if priority >= limit:
            return Decision(Verdict.LEFT_OUT, f"enough of its sort today: {sort}")
    return _kept(min(1.0, min(task.sampling.rate, limit) * _weight(task, hard)), hard)


def _priority(task: Task, request: inference.Request, hard: tuple[str, ...]) -> float:
    """By the question, not the id: however often it is asked, it has one chance. Below the rate it is drawn, so a hard
    case's is the smaller, and the probability to be drawn the rate times its weight."""
    if task.sampling.rate >= 1 and not task.sampling.strata.per_day:
        return 0.0
    return fraction(fingerprint(task, request), salt="sample") / _weight(task, hard)


def _weight(task: Task, hard: tuple[str, ...]) -> float:
    return task.sampling.hard_weight if hard else 1.0


@lru_cache(maxsize=1024)
def _kept(probability: float, hard: tuple[str, ...]) -> Decision:
    why = f", a hard case: {', '.join(hard)}" if hard else ""
    return Decision(Verdict.CHOSEN, f"the teacher's answer, kept at rate {probability:.3g}{why}", probability)


def stratum_of(task: Task, exchange: events.Exchange) -> str:
    """Which sort of example it is, by its own answer."""
    return stratum(task, _kind(exchange.request), answer_text(exchange.reply.message))


def _kind(request: inference.Request) -> str:
    return str(request.metadata.get("kind", ""))


def candidate(
    task: Task, exchange: events.Exchange, said: Said, decision: Decision, now: Timestamp
) -> events.Candidate | None:
    """The event that tells the decision; None where there is nothing to tell."""
    if decision.verdict not in EMITTED:
        return None
    own = answer_text(exchange.reply.message)
    answer = said.correction if decision.verdict is Verdict.CORRECTED else own
    teacher, model = _teachers(exchange, own)
    return events.Candidate(
        id=exchange.id,
        task=task.name,
        split=side(task, exchange),
        request=exchange.request,
        answer=answer,
        corrected=decision.verdict in BY_A_PERSON,
        reason=decision.reason,
        probability=decision.probability,
        # A tenth of all that is done with an event, so only where it decides; a snapshot names its own.
        stratum=stratum(task, _kind(exchange.request), answer) if task.sampling.strata.per_day else "",
        hard=reasons(exchange.request),
        excluded=decision.verdict is Verdict.EXCLUDED,
        teacher_answer=teacher,
        teacher_model=model,
        asked_at=exchange.started_at,
        decided_at=now,
    )


def _teachers(exchange: events.Exchange, own: str) -> tuple[str, str]:
    """What the teacher answered, kept or not, and which teacher; empty where it was not asked."""
    if exchange.reply.answered_by == inference.BACKEND_TEACHER:
        return own, exchange.reply.model
    asked = [attempt for attempt in exchange.attempts if attempt.backend == inference.BACKEND_TEACHER]
    return (answer_text(asked[-1].message), asked[-1].model) if asked else ("", "")
