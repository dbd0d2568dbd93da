"""One call's stream on an HTTP/2 connection, who answers it, and what the peer may do wrong."""

from typing import Any, Protocol

from services.gateway.frames import WINDOW_MOST
from services.gateway.grpc_head import Head
from services.gateway.grpc_messages import Messages, Unreadable

NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 0, 1, 3, 6, 7, 9, 11


class Broken(Exception):  # noqa: N818 - it says what the peer did
    """The peer broke the protocol: the connection ends with this HTTP/2 code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Stream:
    """One call's stream."""

    __slots__ = (
        "among", "call", "charged", "finished", "gone", "half_closed", "has_begun", "head", "id", "messages", "unread",
        "unsent", "untaken", "window",
    )  # fmt: skip

    def __init__(self, number: int, head: Head, window: int, message_most: int) -> None:
        self.id = number
        self.head = head
        self.messages = Messages(head.encoding, message_most)
        self.window = window
        self.untaken = 0
        """Bytes of whole messages, with their prefixes, that its call has not taken."""
        self.charged = 0
        """Bytes that count as held for what the call itself takes, while its caller may say more."""
        self.among: set[Stream] | None = None
        """Those with which it is counted until it has ended; None where it need not be."""
        self.unread = 0
        """Bytes that came, of which the caller has not been told that he may send as many more."""
        self.unsent: bytearray | None = None
        """Bytes that wait for the caller's windows."""
        self.has_begun = self.half_closed = False
        self.gone = False
        """Whether it has ended, or its caller has: nothing more is sent."""
        self.finished: bytes | None = None
        """The end's headers, once there is nothing more to send before them."""
        self.call: Any = None
        """The call, for who answers it."""


class Calls(Protocol):
    """Who answers the calls."""

    def begin(self, stream: Stream) -> None:
        """A call has begun; its messages follow."""

    def waits(self, stream: Stream) -> None:
        """Not all of it came at once, and nobody knows whether the rest ever does."""

    def message(self, stream: Stream, message: bytes) -> None:
        """One of them."""

    def half_closed(self, stream: Stream) -> None:
        """There are no more of them."""

    def gone(self, stream: Stream) -> None:
        """The caller went away: nothing that is sent to him arrives."""

    def unreadable(self, stream: Stream, error: Unreadable) -> None:
        """What came is no message."""

    def sent(self, stream: Stream) -> None:
        """Something of what waited for the caller's windows has gone out."""

    def overfull(self) -> None:
        """More waits for them than is kept."""


def check_window(window: int) -> None:
    """Raise Broken for one that is wider than RFC 9113 allows."""
    if window > WINDOW_MOST:
        raise Broken(FLOW_CONTROL, "a window of more than 2^31-1 bytes")
