"""What callers hold of the process, at all doors together: requests that have not come whole, and connections."""

import sys
from typing import Final

HELD_MOST: Final = 256 * 1024**2
"""Bytes: thirty requests of 8 MiB on their way at a time, or 250,000 calls that have said their head alone."""
REQUEST_WITHIN_S: Final = 30.0
"""How long a request may take to arrive whole; who is slower holds memory for nothing."""


class TooMuchHeld(Exception):  # noqa: N818 - it says what the matter is
    """There is no room for a request of which the rest is still to come."""

    retry_after_s = 1.0


class Held:
    """Counts it."""

    def __init__(self, most_bytes: int = HELD_MOST, connections_most: int = sys.maxsize) -> None:
        self.most_bytes = most_bytes
        self.connections_most = connections_most
        self.bytes = self.connections = 0

    @property
    def too_much(self) -> str:
        """What to tell whoever sends more of a request; empty where there is room."""
        if self.bytes <= self.most_bytes:
            return ""
        held = f"the gateway holds {self.most_bytes} bytes of requests that have not come whole"
        return f"{held}: send this one again in a moment"

    @property
    def too_many(self) -> str:
        """What to tell the connection that came last; empty where there is room for it."""
        if self.connections <= self.connections_most:
            return ""
        most = self.connections_most
        return f"{most} connections are open, the limit of this gateway (MAX_CONNECTIONS): try again later"
