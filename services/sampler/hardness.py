"""Which exchanges are hard cases: those in which a student was asked, and the teacher after it or beside it, and those
whose question is novel; pure.

What is found is noted in the request's metadata, as the student's attempts, by far the larger part, are not remembered.
"""

from collections.abc import Iterator
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import answer_text, meaning

HARD: Final = "tutelage.hard"
"""The key of the metadata; the reasons with commas between them."""
UNSURE: Final = "confidence"
"""The kind, as the gateway writes it, of a refusal because the student was not sure enough."""


def note(exchange: events.Exchange, *further: str) -> None:
    """Write down why it is a hard case, if it is one. Of others the key is taken out: it is not a caller's to set."""
    found = further
    if exchange.reply.answered_by == inference.BACKEND_TEACHER and len(exchange.attempts) > 1:
        found = (*dict.fromkeys(_reasons(exchange)), *further)
    if found:
        exchange.request.metadata[HARD] = ",".join(found)
    elif HARD in exchange.request.metadata:
        del exchange.request.metadata[HARD]


def reasons(request: inference.Request) -> list[str]:
    """What was noted."""
    return request.metadata[HARD].split(",") if HARD in request.metadata else []


def _reasons(exchange: events.Exchange) -> Iterator[str]:
    for attempt in exchange.attempts:
        said = answer_text(attempt.message)
        unseen = attempt.backend != inference.BACKEND_STUDENT or attempt.shadow
        if unseen or not said or _broken_off(attempt):
            continue
        if attempt.refusal:
            yield "unsure" if attempt.refusal.startswith(UNSURE) else "refused"
        if meaning(said) != meaning(answer_text(exchange.reply.message)):
            yield "disagreed"


def _broken_off(attempt: events.Attempt) -> bool:
    """Whether its text is but a beginning, which tells nothing of what the student would have said."""
    return attempt.end != inference.END_UNSPECIFIED and attempt.finish == inference.FINISH_UNSPECIFIED
