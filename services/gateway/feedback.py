"""Feedback on its way to disk, however it came."""

import uuid_utils

from protos import events_pb2 as events
from services import topics
from services.gateway.listening import stamp
from services.gateway.spool import Spool


async def keep(record: events.FeedbackRecord, spool: Spool) -> str:
    """Its id, once it is on disk, on its way to Kafka. Raises SpoolFull."""
    spool.admit()
    stamped = _stamped(record)
    await spool.append(topics.encode(topics.FEEDBACK, stamped))
    return stamped.id


def _stamped(request: events.FeedbackRecord) -> events.FeedbackRecord:
    record = events.FeedbackRecord()
    record.CopyFrom(request)
    record.id = record.id.lower() or str(uuid_utils.uuid7())
    record.exchange_id = record.exchange_id.lower()
    stamp(record.created_at)
    return record
