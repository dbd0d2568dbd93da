"""What feedback must be before it is stored. Pure; errors name the field, the limit and what was given."""

import math
from collections.abc import Mapping

from protos import events_pb2 as events
from services.gateway.checks import RequestLimits, check_task
from services.gateway.fields import BadInput, check_size, check_text, check_uuid
from services.tasks import Task


def check_feedback(record: events.FeedbackRecord, tasks: Mapping[str, Task], limits: RequestLimits) -> None:
    """Raises BadInput or UnknownTask."""
    check_task(record.task, tasks)
    if not record.exchange_id:
        raise BadInput("exchange_id: is missing; it is in the reply")
    check_uuid("exchange_id", record.exchange_id)
    if record.id:
        check_uuid("id", record.id)
    check_text("group_key", record.group_key, limits.group_key_bytes)
    if record.HasField("rating") and not -1 <= record.rating <= 1:
        raise BadInput(f"rating: {record.rating:g} is not from -1 to 1")
    _check_metrics(record.metrics, limits)
    check_size("comment", record.comment, limits.feedback_bytes)
    _check_correction(record, limits)
    if not (record.HasField("rating") or record.HasField("correction") or record.metrics or record.comment):
        raise BadInput("rating, metrics, correction, comment: all are absent; feedback has at least one")


def _check_metrics(metrics: Mapping[str, float], limits: RequestLimits) -> None:
    if len(metrics) > limits.metadata_entries:
        raise BadInput(f"metrics: {len(metrics)} are above the limit of {limits.metadata_entries}")
    for name, value in metrics.items():
        if not name:
            raise BadInput("metrics: a name is empty")
        check_text("metrics name", name, limits.metadata_key_bytes)
        if not math.isfinite(value):
            raise BadInput(f"metrics[{name!r}]: {value} is not a finite number")


def _check_correction(record: events.FeedbackRecord, limits: RequestLimits) -> None:
    if record.HasField("correction"):
        if not record.correction.strip():
            raise BadInput("correction: is empty; leave it absent where there is none")
        check_size("correction", record.correction, limits.feedback_bytes)
