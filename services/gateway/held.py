"""How much of requests that have not come whole is held, in all connections of the process together."""

from typing import Final

HELD_MOST: Final = 256 * 1024**2
"""Bytes: thirty requests of 8 MiB on their way at a time, or sixty thousand calls that have said their head alone."""
TOO_MUCH: Final = "the gateway holds {most} bytes of requests that have not come whole: send this one again in a moment"


class TooMuchHeld(Exception):  # noqa: N818 - it says what the matter is
    """There is no room for a request of which the rest is still to come."""

    retry_after_s = 1.0


class Held:
    """Counts them."""

    def __init__(self, most_bytes: int = HELD_MOST) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0

    @property
    def too_much(self) -> str:
        """What to tell whoever sends more; empty where there is room."""
        return TOO_MUCH.format(most=self.most_bytes) if self.bytes > self.most_bytes else ""
