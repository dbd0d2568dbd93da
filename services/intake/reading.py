"""A record of topic `requests` into a Request; pure. Raises BadEvent with what is wrong."""

import json
import uuid

from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.openai_request import NAMESPACE, parse_request
from services.topics import CONTENT_TYPE, Record, decode

JSON_TYPE = b"application/json"


def read(record: Record, max_bytes: int) -> inference.Request:
    """The request, always with a request_id, so that a record that is delivered again is the same exchange.

    Where the producer gave none, the id follows from the record's place and bytes: in a topic that was made anew the
    same offset holds another request, and must have another id.
    """
    if len(record.value) > max_bytes:
        raise BadEvent(f"{len(record.value):,} bytes are above the limit of {max_bytes:,} (INTAKE_MAX_REQUEST_BYTES)")
    declared = record.headers.get(CONTENT_TYPE, b"").partition(b";")[0].strip().lower()
    request: inference.Request = parse_request(_json(record.value)) if declared == JSON_TYPE else decode(record)
    if not request.request_id:
        place = f"{record.topic}/{record.partition}/{record.offset}/"
        request.request_id = str(uuid.uuid5(NAMESPACE, place + record.value.hex()))
    return request


def _json(value: bytes) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadEvent(f"not JSON: {error}"[:300]) from error
