"""What the teacher's API says to one request, as it comes: its status, then its body in any pieces. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from services.gateway.teacher_answer import said
from services.gateway.teacher_events import Events
from services.gateway.teacher_failures import TeacherFailed, of_status, retry_after_s, unavailable

OnEvent = Callable[[str], bool]
"""Takes the data of each event of a stream; says whether it was the last that matters."""
Header = Callable[[str], str | None]
"""The value of the header of this name, in small letters."""
MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Of an error's body; its first 300 characters are told."""
END_S: Final = 0.2
"""How long after a stream's last event its end may take, for the connection to serve another call."""


class Heard:
    """One response. With `on_event` an answer's events are handed on as they come, else its body is kept."""

    def __init__(self, max_bytes: int, on_event: OnEvent | None = None) -> None:
        """`max_bytes`: of the body."""
        self.status = 0
        """0 as long as nothing was said."""
        self.is_enough = False
        """Whether nothing more is wanted of it."""
        self.body = bytearray()
        self._max_bytes = self._left_bytes = max_bytes
        self._on_event = on_event
        self._events = Events() if on_event else None
        self._header: Header = lambda _name: None

    def begin(self, status: int, header: Header) -> None:
        """Its head."""
        self.status, self._header = status, header

    def piece(self, data: bytes) -> None:
        """More of its body. Raises TeacherFailed where it is larger than allowed, and what `on_event` does."""
        if self.status != 200:
            self.body += data[: MAX_REFUSAL_BYTES - len(self.body)]
            self.is_enough = len(self.body) == MAX_REFUSAL_BYTES
            return
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise unavailable(f"its answer is larger than TEACHER_MAX_ANSWER_BYTES, {self._max_bytes}")
        if self._events is None or self._on_event is None:
            self.body += data
            return
        for event in self._events.take(data):
            if self._on_event(event):
                self.is_enough = True
                return

    def refusal(self, masked: Callable[[str], str]) -> TeacherFailed:
        """What another status than 200 means; `masked` takes secrets out of what it says."""
        header = self._header
        wait_s = retry_after_s(header("retry-after-ms"), header("retry-after"), datetime.now(UTC))
        return of_status(self.status, masked(said(bytes(self.body))), wait_s)
