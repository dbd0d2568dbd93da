"""Feedback as a call by HTTP brings it, into ours; pure."""

from pydantic import BaseModel, ConfigDict

from protos import events_pb2 as events
from services.gateway.fields import BadInput
from services.gateway.http_fields import ID_PREFIX, read_body, task_name
from services.openai_shapes import Short


class FeedbackBody(BaseModel):
    """What a caller says of an answer. It is our own and not OpenAI's, so a key that we do not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Short
    """The completion's, or the exchange's."""
    model: Short
    """As it was asked."""
    user: Short | None = None
    """As it was asked: both must reach one partition."""
    rating: float | None = None
    metrics: dict[str, float] = {}
    correction: str | None = None
    comment: str = ""


def read_feedback(body: bytes) -> events.FeedbackRecord:
    """The feedback. Raises BadInput or UnknownTask."""
    said = read_body(FeedbackBody, body)
    record = events.FeedbackRecord(
        exchange_id=said.id.removeprefix(ID_PREFIX), task=task_name(said.model), group_key=said.user or ""
    )
    try:
        record.comment = said.comment
        record.metrics.update(said.metrics)
        if said.rating is not None:
            record.rating = said.rating
        if said.correction is not None:
            record.correction = said.correction
    except UnicodeError as error:
        raise BadInput(f"comment, correction: can't be stored: {error}"[:300]) from error
    return record
