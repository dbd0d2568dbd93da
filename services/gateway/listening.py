"""What the caller of a stream hears of an answer while it grows, and the clock of one exchange."""

import time
from math import inf
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

REPLY_RESERVE_S: Final = 0.01
"""Kept free of the caller's deadline, to write the exchange down and say how it ended."""
ROUNDED_S: Final = ((1.0, 0.001), (10.0, 0.01), (100.0, 0.1), (1_000.0, 1.0), (inf, 10.0))
"""By how much gRPC's C core, in most of its clients, may round a deadline up that is below so many seconds."""


def stamp(at: Timestamp) -> None:
    """Write down that it is now."""
    at.seconds, at.nanos = divmod(time.time_ns(), 1_000_000_000)


def reserve_s(timeout_s: float) -> float:
    """What must be kept free of so much time: the caller may have less than he said, and is gone then."""
    return REPLY_RESERVE_S + next(step_s for below_s, step_s in ROUNDED_S if timeout_s < below_s or below_s == inf)


def in_words(seconds: float) -> str:
    """For people: 2.50 s, or 4.2 ms, as 0.00 s would tell nothing."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{max(seconds, 0.0) * 1_000:.3g} ms"


class Listener(Protocol):
    """Takes the answer's text while it grows."""

    def text(self, delta: str) -> None:
        """A piece of text."""

    def restart(self) -> None:
        """Forget the text so far: another backend begins from the beginning."""


class Clock:
    """The time of one exchange, from its arrival to its deadline, less what writing it down takes."""

    def __init__(self, timeout_s: float) -> None:
        self._arrived_s = time.monotonic()
        self.timeout_s = timeout_s
        self.usable_s = timeout_s - reserve_s(timeout_s)

    def elapsed_s(self) -> float:
        """Since the arrival."""
        return time.monotonic() - self._arrived_s

    def elapsed_us(self) -> int:
        """Since the arrival, in whole microseconds."""
        return round(self.elapsed_s() * 1e6)

    def left_s(self) -> float:
        """Until nothing more can be done; below 0 from then on."""
        return self.usable_s - self.elapsed_s()

    def is_up(self) -> bool:
        """Whether nothing more can be done. A timer may ring a millisecond early, hence half the reserve."""
        return self.elapsed_s() >= self.usable_s - REPLY_RESERVE_S / 2


class Told:
    """What the listener, if there is one, has heard so far."""

    def __init__(self, clock: Clock, listener: Listener | None) -> None:
        self.clock = clock
        self._listener = listener
        self._pieces: list[str] = []
        self.first_token_us = 0

    @property
    def listens(self) -> bool:
        """Whether there is anybody to hear it."""
        return self._listener is not None

    @property
    def has_heard(self) -> bool:
        """Whether any text is heard that is not void."""
        return bool(self._pieces)

    @property
    def heard(self) -> str:
        """That text."""
        return "".join(self._pieces)

    def text(self, delta: str) -> None:
        """Pass a piece on."""
        if self._listener is None or not delta:
            return
        self.first_token_us = self.first_token_us or self.clock.elapsed_us()
        self._pieces.append(delta)
        self._listener.text(delta)

    def forget(self) -> None:
        """What was heard is void: it comes again from the beginning."""
        if self._pieces and self._listener is not None:
            self._pieces.clear()
            self._listener.restart()

    def rest(self, content: str) -> None:
        """The whole text, where it was held back until it was judged."""
        if not self._pieces:
            self.text(content)
