"""What is asked of single fields of a request. Pure; errors name the field, the limit and what was given."""

import re
from collections.abc import Iterable
from typing import Final, TypeVar
from uuid import UUID

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
T = TypeVar("T")


class BadInput(ValueError):  # noqa: N818 - as gRPC calls it
    """The caller must change the request; the text says what."""


class UnknownTask(LookupError):  # noqa: N818
    """No such task; the text names those that exist."""


class BegunOtherwise(Exception):  # noqa: N818
    """Text has gone out, over a way that can't take it back, that is not the beginning of the answer."""


def check_uuid(field: str, value: str) -> None:
    """Raise BadInput unless `value` is a UUID in its usual form of 36 characters."""
    try:
        usual = str(UUID(value)) == value.lower()
    except ValueError:
        usual = False
    if not usual:
        raise BadInput(f"{field}: {value[:64]!r} is not a UUID like 0190a0b0-0000-7000-8000-000000000000")


def check_text(field: str, value: str, max_bytes: int) -> None:
    """Raise BadInput for a label that is too long or would break a log line."""
    check_size(field, value, max_bytes)
    if CONTROL.search(value):
        raise BadInput(f"{field}: {value[:64]!r} has a control character")


def check_size(field: str, value: str, max_bytes: int) -> None:
    """Raise BadInput for a text of more than `max_bytes` in UTF-8."""
    if 4 * len(value) <= max_bytes:  # However it is written.
        return
    size = len(value.encode())
    if size > max_bytes:
        raise BadInput(f"{field}: {size} bytes are above the limit of {max_bytes}")


def check_count(field: str, given: int, limit: int) -> None:
    """Raise BadInput for more than `limit` of something."""
    if given > limit:
        raise BadInput(f"{field}: {given} are above the limit of {limit}")


def numbered(field: str, items: Iterable[T]) -> Iterable[tuple[str, T]]:
    """Each item with its name for people: `messages[0]`."""
    return ((f"{field}[{place}]", item) for place, item in enumerate(items))
