"""Two answers to one call as a pair: which calls make one, what is known of it already, whether the two agree; pure."""

from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import ends, router, shares
from services.tasks import Task, answer_text, meaning, question

CALLED_OFF: Final = ("cancelled", "replaced")
"""How the refusal of an attempt begins that was ended because the caller left or the other backend was quicker."""
OTHER: Final = {
    inference.BACKEND_TEACHER: inference.BACKEND_STUDENT,
    inference.BACKEND_STUDENT: inference.BACKEND_TEACHER,
}


def begun(exchange: events.Exchange, task: Task, promotion: events.Promotion | None) -> events.ShadowPair | None:
    """The pair as far as the exchange tells it; None where the call was not chosen or got no whole answer.

    Where the caller's way led through both backends, what the other said is known, and need not be asked for.
    """
    probability = shares.compared(task, promotion, exchange.request, exchange.id)
    if promotion is None or probability is None or (given := _given(exchange)) is None:
        return None
    pair = events.ShadowPair(
        id=exchange.id,
        task=task.name,
        group_key=exchange.request.group_key,
        kind=exchange.request.metadata.get(shares.KIND, ""),
        question=question(exchange.request),
        policy=promotion.policy.kind,
        promotion_id=promotion.id,
        student_version=promotion.student_version,
        probability=probability,
        answered_by=given.backend,
        asked_at=exchange.started_at,
    )
    side(pair, given.backend).CopyFrom(given)
    others = [one for one in exchange.attempts if one.backend == OTHER[given.backend] and _tells(one)]
    if others:
        other = side(pair, OTHER[given.backend])
        other.CopyFrom(others[-1])
        if not other.finish:  # What was heard of it before it broke off is no answer.
            other.ClearField("message")
        elif other.refusal.startswith(CALLED_OFF):
            other.refusal = ""  # It had answered already, only later than the one that was kept.
    return pair


def conclude(pair: events.ShadowPair, task: Task, request: inference.Request) -> None:
    """Say whether the validators let the student's answer pass, and whether both mean the same."""
    teachers, students = answer_text(pair.teacher.message), answer_text(pair.student.message)
    if students:  # It may have been refused for its confidence, which is no fault of the answer.
        pair.student.refusal = router.student_refusal(task, request, pair.student)
    if teachers and students and not task.answers_vary:
        pair.agreed = meaning(teachers) == meaning(students)


def side(pair: events.ShadowPair, backend: inference.Backend) -> events.Attempt:
    """A backend's part of a pair."""
    return pair.teacher if backend == inference.BACKEND_TEACHER else pair.student


def _given(exchange: events.Exchange) -> events.Attempt | None:
    """The attempt whose answer the caller got, if that is a whole one and all its own."""
    if exchange.outcome != events.OUTCOME_ANSWERED or exchange.reply.finish not in ends.COMPLETE:
        return None
    by = exchange.reply.answered_by
    kept = next((one for one in reversed(exchange.attempts) if one.backend == by and not one.refusal), None)
    return None if kept is not None and kept.resumed_characters else kept


def _tells(attempt: events.Attempt) -> bool:
    """Whether an attempt tells how its backend does: it answered, or failed by itself."""
    called_off = attempt.end == inference.END_CANCELLED or attempt.refusal.startswith(CALLED_OFF)
    return attempt.finish != inference.FINISH_UNSPECIFIED or not (attempt.hedge or called_off)
