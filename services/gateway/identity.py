"""What an exchange is called: nobody can give it the name of another's, and whoever asks the same again means the same.

A record in ClickHouse is replaced by a later one of its id. So an id that a caller chose, and may have learnt from
others, is an id only where all callers are one: where no keys are asked for.
"""

from hashlib import sha256
from typing import Final

import uuid_utils

from protos import inference_pb2 as inference
from services.openai_request import PRODUCER_ID

TIME_BYTES: Final = 6
"""Of a UUIDv7: its milliseconds, by which tables are divided into days."""


def exchange_id(request: inference.Request, key_id: str) -> str:
    """The id of the exchange that a checked request begins, or that it began before.

    A new UUIDv7 where it has no request_id; the request_id where no key came with it. With a key it follows from the
    key and all that is asked: a UUIDv7 leaves its time in it, any other makes a UUIDv8, which tells none. So it does
    without a key where the id was no UUID: people write `order-7`, and may write it again for another text.
    """
    if not request.request_id:
        return str(uuid_utils.uuid7())
    if not key_id and PRODUCER_ID not in request.metadata:
        return request.request_id
    digest = sha256(f"{key_id}\0".encode() + request.SerializeToString(deterministic=True)).digest()
    asked = uuid_utils.UUID(request.request_id)
    if asked.version != 7:
        return str(uuid_utils.UUID(bytes=digest[:16], version=8))
    return str(uuid_utils.UUID(bytes=asked.bytes[:TIME_BYTES] + digest[: 16 - TIME_BYTES], version=7))
