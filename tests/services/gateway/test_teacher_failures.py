"""What a teacher's statuses and headers mean."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.backends import FailureKind
from services.gateway.teacher_failures import MAX_RETRY_AFTER_S, of_status, retry_after_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("milliseconds", "seconds_or_date", "waits_s"),
    [
        (None, None, None),
        (None, "", None),
        (None, "7", 7.0),
        (None, "0.5", 0.5),
        (None, "-1", 0.0),
        ("250", "7", 0.25),
        ("soon", "7", 7.0),
        (None, "soon", None),
        (None, "nan", None),
        (None, "86400", MAX_RETRY_AFTER_S),
        (None, format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (None, format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        (None, format_datetime(NOW + timedelta(days=1), usegmt=True), MAX_RETRY_AFTER_S),
        (None, "Wed, 31 Feb 2026 25:00:00 GMT", None),
    ],
)
def test_a_wait_is_given_in_milliseconds_seconds_or_as_a_date(
    milliseconds: str | None, seconds_or_date: str | None, waits_s: float | None
):
    assert retry_after_s(milliseconds, seconds_or_date, NOW) == waits_s


@given(st.none() | st.text(), st.none() | st.text())
def test_no_header_is_more_than_the_reader_can_take(milliseconds: str | None, seconds_or_date: str | None):
    waits_s = retry_after_s(milliseconds, seconds_or_date, NOW)
    assert waits_s is None or 0 <= waits_s <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_status_of_the_moment_may_be_asked_again(status: int):
    failure = of_status(status, "busy", 3.0)
    assert (failure.kind, failure.passes, failure.retry_after_s) == (FailureKind.UNAVAILABLE, True, 3.0)


@pytest.mark.parametrize("status", [400, 413, 422, 431, 451])
def test_a_request_at_fault_is_refused_and_not_asked_again(status: int):
    failure = of_status(status, "wrong", 3.0)
    assert (failure.kind, failure.passes, failure.retry_after_s) == (FailureKind.REFUSED, False, None)


@pytest.mark.parametrize(
    ("status", "setting"), [(301, "TEACHER_BASE_URL"), (307, "TEACHER_BASE_URL"), (401, "TEACHER_API_KEY")]
)
def test_a_gateway_set_up_wrongly_is_told_what_to_change(status: int, setting: str):
    failure = of_status(status, "go away")
    assert (failure.kind, failure.passes) == (FailureKind.UNAVAILABLE, False)
    assert setting in str(failure)
