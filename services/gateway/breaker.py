"""When a backend is left alone for a while because it only fails; pure.

One for each task, backend and student's version: a model that is missing or broken in Triton, or that the API does not
know, is that of one task, and a new version or the one that a rollback brings back is not judged by another's failures.
What is known of the libraries (pybreaker, aiobreaker, purgatory; none was tried) is that they count failures in a row
alone, wait a fixed pause, and read the clock themselves.
"""

import random
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from services.gateway.lately import Lately

FAILURES_IN_A_ROW: Final = 5
LEAST_CALLS: Final = 20
"""Below so many in the window their share of failures says nothing."""
OPENS_AT: Final = 0.5
"""Half: with fewer, asking it is still more likely to bring an answer than not."""
HALF_S: Final = 5.0
"""The share is that of the last one to two of these."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
"""One call in ten seconds is no burden, and who is well again should not be left alone for long."""
LONGEST_TRIAL_S: Final = 10.0
"""A trial that hangs keeps the others away for no longer than a pause would."""
LONGEST_ASKED_S: Final = 60.0
"""As long as it is believed that asks to be left alone: quotas are often of a minute."""
FORGOTTEN_S: Final = 300.0
"""So long after its pause that nobody has tried it, who is left alone is nobody's trouble, be it broken or not."""
_CALLS, _FAILURES = range(2)


class State(IntEnum):
    """As the metric tells it."""

    CLOSED = 0  # It is asked.
    HALF_OPEN = 1  # One call tries it.
    OPEN = 2  # It is not asked.


class Breaker:
    """Opens after failures, lets one call at a time try after a pause that grows, and closes when that one succeeds.

    What was asked tells `spoke`, and `succeeded` or `failed`; where it came to neither, the call that tries tells
    `dropped`. Each gives back the era in which it was asked: with each opening another one begins, and what was asked
    before it tells nothing of now, such as the hundreds of calls that hung when it broke, and time out one by one when
    it is well again. `now_s` is of a clock that does not go back.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives numbers from 0 to 1: pauses are shortened by up to half, lest all gateways try at once."""
        self._jitter = jitter
        self.state = State.CLOSED
        self._in_a_row = 0
        self._pauses = 0
        self._until_s = 0.0  # Open: of the pause. Half open: as long as the trial has it for itself.
        self._era = 0
        self._lately = Lately(2, HALF_S)

    def why_not(self, now_s: float) -> str:
        """Why it may not be asked, '' if it may."""
        if self.state is State.CLOSED or now_s >= self._until_s:
            return ""
        if self.state is State.HALF_OPEN:
            return "breaker: one call is trying whether it answers again"
        return f"breaker: it failed too often, and is asked again in {self.retry_after_s(now_s):.1f} s"

    def told(self, now_s: float) -> State:
        """What a call would meet, for those who watch: `state` itself changes only with the next call."""
        if self.state is not State.OPEN or now_s < self._until_s:
            return self.state
        return State.HALF_OPEN if now_s < self._until_s + FORGOTTEN_S else State.CLOSED

    def retry_after_s(self, now_s: float) -> float:
        """When it may be worth while to ask again."""
        return max(0.0, self._until_s - now_s) if self.state is State.OPEN else FIRST_PAUSE_S

    def asked(self, now_s: float) -> int:
        """It is asked, as `why_not` allowed: a trial, unless it is closed. Returns the era."""
        if self.state is not State.CLOSED:
            self.state, self._until_s = State.HALF_OPEN, now_s + LONGEST_TRIAL_S
        return self._era

    def spoke(self, era: int) -> None:
        """It has begun to answer: that closes, but if its streams break off after that, pauses go on growing."""
        if era == self._era and self.state is State.HALF_OPEN:
            self.state, self._in_a_row = State.CLOSED, 0
            self._lately.clear()

    def succeeded(self, era: int, now_s: float) -> None:
        """It has answered, to the end."""
        if era != self._era:
            return
        self.spoke(era)
        if self.state is State.CLOSED:
            self._lately.add(_CALLS, now_s)
            self._in_a_row = self._pauses = 0

    def failed(self, era: int, now_s: float, retry_after_s: float | None = None) -> None:
        """It has failed by its own fault; it may have said when to come again."""
        if era != self._era:
            return
        self._lately.add(_CALLS, now_s)
        self._lately.add(_FAILURES, now_s)
        self._in_a_row += 1
        if self.state is State.HALF_OPEN or self._fails_too_often():
            self._open(now_s, retry_after_s or 0.0)

    def dropped(self, era: int, now_s: float) -> None:
        """The call that tried came to no end that tells: its caller went away, say, or its request was at fault."""
        if era == self._era and self.state is State.HALF_OPEN:
            self.state, self._until_s = State.OPEN, now_s  # The next call tries.

    def _fails_too_often(self) -> bool:
        if self._in_a_row >= FAILURES_IN_A_ROW:
            return True
        calls = self._lately.of(_CALLS)
        return calls >= LEAST_CALLS and self._lately.of(_FAILURES) >= OPENS_AT * calls

    def _open(self, now_s: float, least_s: float) -> None:
        pause_s = min(FIRST_PAUSE_S * 2**self._pauses, LONGEST_PAUSE_S) * (1 - self._jitter() / 2)
        self.state, self._until_s = State.OPEN, now_s + max(pause_s, min(least_s, LONGEST_ASKED_S))
        self._pauses = min(self._pauses + 1, 10)
        self._era += 1
        self._lately.clear()
