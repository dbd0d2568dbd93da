"""Which calls are refused at once, while there is room and time, so that those that matter more are answered; pure."""

import math
from collections.abc import Mapping
from typing import Final

from protos import inference_pb2 as inference

ROOM: Final[Mapping[inference.Priority, float]] = {
    inference.PRIORITY_LOW: 0.7,
    inference.PRIORITY_UNSPECIFIED: 0.9,
    inference.PRIORITY_HIGH: 1.0,
}
"""Up to which part of all places a call of that priority is let in."""
CHANCE: Final[Mapping[inference.Priority, float]] = {
    inference.PRIORITY_LOW: 0.5,
    inference.PRIORITY_UNSPECIFIED: 0.25,
    inference.PRIORITY_HIGH: 0.05,
}
"""Which part of the answers must lately have come within the time that a call still has. Below it the call would most
likely only take a place until its deadline passes."""


class TooManyCalls(Exception):  # noqa: N818
    """The gateway holds as many open calls as it may of this priority."""

    retry_after_s = 1.0


class TooLate(Exception):  # noqa: N818
    """The time that is left is shorter than answers take now."""

    retry_after_s = 1.0


def places(max_open_calls: int) -> dict[inference.Priority, int]:
    """By priority how many calls of all priorities may be open when one more of it comes."""
    return {priority: math.ceil(part * max_open_calls) for priority, part in ROOM.items()}


def chance(priority: inference.Priority) -> float:
    """Of a priority that only a newer caller knows it is the normal one's."""
    return CHANCE.get(priority, CHANCE[inference.PRIORITY_UNSPECIFIED])
