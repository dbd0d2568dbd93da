"""An exchange that is too large for Kafka, with its longest texts shortened until it fits; pure.

Ids, keys, numbers and short texts stay; a shortened text ends with MARK and says how long it was. The request's
metadata says under CUT_FROM how large the whole was, so that nobody learns from what is left.
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from protos import events_pb2 as events
from services.errors import BadEvent
from services.kafka import MAX_MESSAGE_BYTES
from services.topics import CUT_FROM, EXCHANGES, Record, decode, encode

Text = tuple[Message, str]
"""A message and the name of a field of it that holds one text."""

MARK: Final = "… [cut, it had {bytes} bytes]"
MARK_BYTES: Final = 48
LEAST_BYTES: Final = 2_048
"""No text is shortened below this: what is no longer is an id, a key, a label."""
ENVELOPE_BYTES: Final = 64 * 1024
"""Left free for the record's key and headers and for what the marks add."""


def shortened(record: Record) -> Record | None:
    """The next smaller record to try in the place of one that Kafka refuses; None where shortening is no way out.

    First what fits our own limit, then half of that and so on: a broker's or topic's own limit may be lower, and
    the refusal does not tell it.
    """
    size = len(record.value)
    if record.topic != EXCHANGES.name or size <= LEAST_BYTES:
        return None
    try:
        exchange = decode(record)
    except BadEvent:
        return None
    limit = MAX_MESSAGE_BYTES - ENVELOPE_BYTES
    return encode(EXCHANGES, exchange) if cut(exchange, limit if size > limit else size // 2) else None


def cut(exchange: events.Exchange, limit_bytes: int) -> bool:
    """Shorten the exchange in place to at most `limit_bytes`; False, and nothing changed, if that can't be."""
    texts = [(message, name) for message, name in _texts(exchange) if _bytes(message, name) > LEAST_BYTES]
    rest_bytes = exchange.ByteSize() - sum(_bytes(*text) for text in texts)
    longest = _longest(sorted(_bytes(*text) for text in texts), limit_bytes - rest_bytes - MARK_BYTES)
    if longest < LEAST_BYTES:
        return False
    exchange.request.metadata.setdefault(CUT_FROM, str(exchange.ByteSize()))
    for message, name in texts:
        _shorten(message, name, longest)
    return True


def _longest(sizes: list[int], room_bytes: int) -> int:
    """The length to which the longest texts must come down so that all fit; LEAST_BYTES - 1 if none will do."""
    low, high = LEAST_BYTES - 1, sizes[-1] if sizes else 0
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes) <= room_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _shorten(message: Message, name: str, longest_bytes: int) -> None:
    whole = getattr(message, name).encode()
    if len(whole) > longest_bytes:
        mark = MARK.format(bytes=len(whole))
        kept = whole[: longest_bytes - len(mark.encode())].decode(errors="ignore")
        setattr(message, name, kept + mark)


def _bytes(message: Message, name: str) -> int:
    return len(getattr(message, name).encode())


def _texts(message: Message) -> Iterator[Text]:
    """Every single text field of a message and of those within it; not the labels of maps."""
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type:
            for inner in value if field.is_repeated else (value,):
                yield from _texts(inner)
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            yield message, field.name
