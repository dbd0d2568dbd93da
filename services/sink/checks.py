"""What no row can hold is refused before it is sent, and what ClickHouse spells otherwise is spelt as it does; pure.

A row that ClickHouse refuses is looked for by halves, at some twenty inserts each: thousands of them would hold up all
others for minutes. So whatever a producer may get wrong in a text or a number is found here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from services.errors import BadEvent
from services.topics import TOPICS

UUIDS: Final[Mapping[str, Sequence[str]]] = {
    "exchanges": ("id",),
    "feedback": ("id", "exchange_id"),
    "candidates": ("id",),
    "shadows": ("id",),
}
TIMES: Final[Mapping[str, Sequence[str]]] = {
    topic.name: [
        field.name
        for field in topic.message.DESCRIPTOR.fields
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"
    ]
    for topic in TOPICS.values()
}
PLACES: Final[Mapping[str, Sequence[str]]] = {
    "exchanges": ("sequence",),
    "sources": ("last_sequence", "acknowledged", "put_aside"),
}
# A gateway that answers 30,000 a second for a year. One place beyond what can be spoils the audit's sums.
LAST_SEQUENCE: Final = 2**40
# A DateTime64 is good for the years up to 2299; before 1970 `exchanges.version`, which has no sign, would be huge.
END_S: Final = int(datetime(2300, 1, 1, tzinfo=UTC).timestamp())
DOLLARS_BELOW: Final = 10**28  # Decimal(38, 8) has two digits more, for the sum of many.
ALL_DIGITS: Final = Context(prec=60)  # Python's own 28 are not enough.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DOLLARS: Final = re.compile(r"\d{1,9}(\.\d{1,8})?", re.ASCII)


def check(topic: str, message: Any) -> None:
    """Make a message one that ClickHouse can read, without another meaning. Raises BadEvent where that can't be."""
    for name in UUIDS.get(topic, ()):
        if not _UUID.fullmatch(text := getattr(message, name)):
            setattr(message, name, _uuid(name, text))
    for name in PLACES.get(topic, ()):
        if (number := getattr(message, name)) > LAST_SEQUENCE:
            raise BadEvent(f"{name} is {number}: no source comes further than {LAST_SEQUENCE}")
    for name in TIMES[topic]:
        _check_time(name, getattr(message, name))
    if topic == "shadows":
        _respell_costs((message.teacher, message.student))
    if topic == "exchanges":
        reply = message.reply
        if not _DOLLARS.fullmatch(text := reply.cost_usd):
            _respell_costs((reply,) if text else message.attempts)


def _check_time(name: str, at: Any) -> None:
    if not 0 <= at.seconds < END_S:
        raise BadEvent(f"{name} is {at.seconds} seconds from 1970: it must be of the years 1970 to 2299")
    if not 0 <= at.nanos < 10**9:
        raise BadEvent(f"{name} has {at.nanos} nanoseconds: they must be part of a second")


def _respell_costs(holders: Iterable[Any]) -> None:
    for one in holders:
        if text := one.cost_usd:
            one.cost_usd = _dollars(text)


def _uuid(name: str, text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise BadEvent(f"{name} is {text[:60]!r}, not a UUID") from error


def _dollars(text: str) -> str:
    try:
        if abs(value := Decimal(text)) < DOLLARS_BELOW:
            return f"{value.quantize(Decimal('1e-8'), ROUND_DOWN, ALL_DIGITS):f}"
    except InvalidOperation as error:
        raise BadEvent(f"cost_usd is {text[:60]!r}, not a number") from error
    raise BadEvent(f"cost_usd is {text[:60]!r}: it must be below {DOLLARS_BELOW:.0e}")
