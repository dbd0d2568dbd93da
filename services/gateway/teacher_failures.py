"""What a teacher's refusals and breakdowns mean to the gateway. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from services.gateway.backends import BackendFailed, FailureKind

MESSAGE_CHARS: Final = 300
REFUSING_STATUSES: Final = frozenset({400, 413, 422, 431, 451})
PASSING_STATUSES: Final = frozenset({408, 409, 429})
"""With all from 500 on: asked again a moment later, the API may answer."""
MAX_RETRY_AFTER_S: Final = 300.0
"""An API that names a day, or a date of last year's clock, keeps nobody away for longer than this."""
ADVICE: Final = {
    401: "it does not accept the gateway's key: check TEACHER_API_KEY",
    402: "its account has no money left",
    403: "the gateway's key may not do this: check TEACHER_API_KEY",
    404: "it does not know the path or the model: check TEACHER_BASE_URL and the model's name",
    429: "it takes no more requests now, or the key's money is spent",
}
UNREACHABLE: Final = "it can't be reached: check TEACHER_BASE_URL"
NOT_TRUSTED: Final = "its certificate is not trusted: check TEACHER_CA_FILE"
OWN_AUTHORITY: Final = "its certificate is its own authority, which only OpenSSL takes: set TEACHER_HTTP=1.1"
BROKE_BEFORE: Final = "its connection broke before it answered"
BROKE_OFF: Final = "its answer broke off"
ELSEWHERE: Final = "it sends callers to another address, which the gateway does not follow: check TEACHER_BASE_URL"


class TeacherFailed(BackendFailed):
    """The teacher gave no answer. `passes`: none of it has come, and the same request may succeed a moment later."""

    def __init__(
        self, kind: FailureKind, message: str, retry_after_s: float | None = None, *, passes: bool = False
    ) -> None:
        super().__init__(kind, message, retry_after_s)
        self.passes = passes


def unavailable(message: str, *, passes: bool = False) -> TeacherFailed:
    """The API is away or broken."""
    return TeacherFailed(FailureKind.UNAVAILABLE, message, passes=passes)


def broke_off(message: str) -> TeacherFailed:
    """It was lost in the middle of its answer. The gateway does not ask again by itself, so it is for its caller to."""
    return TeacherFailed(FailureKind.UNAVAILABLE, message, retry_after_s=0.0)


def no_time() -> TeacherFailed:
    """The call's time was over before the answer."""
    return TeacherFailed(FailureKind.TIMEOUT, "no answer in time")


def of_status(status: int, said: str, retry_after_s: float | None = None) -> TeacherFailed:
    """What an HTTP status other than 200 means. `said` is the API's own word, without secrets."""
    kind = FailureKind.REFUSED if status in REFUSING_STATUSES else FailureKind.UNAVAILABLE
    # What an API says of a wrong key often repeats part of the key.
    told = ADVICE.get(status) or (ELSEWHERE if 300 <= status < 400 else said[:MESSAGE_CHARS])
    passes = status in PASSING_STATUSES or status >= 500
    return TeacherFailed(kind, f"HTTP {status}: {told}", retry_after_s if passes else None, passes=passes)


def retry_after_s(milliseconds: str | None, seconds_or_date: str | None, now: datetime) -> float | None:
    """What the headers `retry-after-ms` (OpenAI's) or else `retry-after` ask for; None for nothing that can be read."""
    given_ms = _number(milliseconds)
    if given_ms is not None:
        return _within(given_ms / 1000)
    seconds = _number(seconds_or_date)
    return _within(seconds) if seconds is not None else _until(seconds_or_date, now)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _until(date: str | None, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):  # The second for a year of twenty digits.
        return None
    return _within((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp())


def _within(seconds: float) -> float | None:
    return None if seconds != seconds else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)  # noqa: PLR0124 - not a number
