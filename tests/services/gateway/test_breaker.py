"""When a backend is left alone, and when it is tried again."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client import REGISTRY

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_PAUSE_S,
    FORGOTTEN_S,
    LEAST_CALLS,
    LONGEST_ASKED_S,
    LONGEST_PAUSE_S,
    LONGEST_TRIAL_S,
    Breaker,
    State,
)
from services.gateway.standing import Standings
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_promotion, a_request, a_task


def opened(now_s: float = 0.0, jitter: float = 0.0, retry_after_s: float | None = None) -> Breaker:
    breaker = Breaker(lambda: jitter)
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(breaker.asked(now_s), now_s, retry_after_s)
    return breaker


def test_it_opens_after_failures_in_a_row():
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(breaker.asked(0.0), 0.0)
    assert breaker.why_not(0.0) == ""
    breaker.succeeded(breaker.asked(0.0), 0.0)
    breaker.failed(breaker.asked(0.0), 0.0)
    assert breaker.state is State.CLOSED
    assert opened().why_not(0.0) == "breaker: it failed too often, and is asked again in 1.0 s"


def test_it_opens_when_half_of_the_calls_fail_also_if_never_many_in_a_row():
    breaker = Breaker()
    for _ in range(LEAST_CALLS // 2):
        assert breaker.state is State.CLOSED
        breaker.succeeded(breaker.asked(0.0), 0.0)
        breaker.failed(breaker.asked(0.0), 0.0)
    assert breaker.state is State.OPEN


def test_failures_of_long_ago_do_not_count():
    breaker = Breaker()
    for now_s in range(0, 60 * LEAST_CALLS, 60):
        breaker.succeeded(breaker.asked(now_s), now_s)
        breaker.failed(breaker.asked(now_s), now_s)
    assert breaker.state is State.CLOSED


def test_after_the_pause_one_call_tries_and_the_others_wait_for_what_comes_of_it():
    breaker = opened()
    assert breaker.why_not(0.99 * FIRST_PAUSE_S)
    assert breaker.why_not(FIRST_PAUSE_S) == ""
    era = breaker.asked(FIRST_PAUSE_S)
    assert breaker.why_not(FIRST_PAUSE_S) == "breaker: one call is trying whether it answers again"
    breaker.succeeded(era, FIRST_PAUSE_S)
    assert breaker.state is State.CLOSED
    breaker.asked(FIRST_PAUSE_S)
    assert breaker.state is State.CLOSED


def test_a_trial_that_tells_nothing_leaves_it_to_the_next():
    breaker = opened()
    breaker.dropped(breaker.asked(FIRST_PAUSE_S), FIRST_PAUSE_S)
    assert breaker.state is State.OPEN
    assert breaker.why_not(FIRST_PAUSE_S) == ""


def test_pauses_grow_as_long_as_trials_fail_and_start_anew_after_a_success():
    breaker, now_s, pauses_s = opened(), 0.0, []
    for _ in range(8):
        pauses_s.append(breaker.retry_after_s(now_s))
        now_s += pauses_s[-1]
        breaker.failed(breaker.asked(now_s), now_s)
    assert pauses_s == [1, 2, 4, 8, 10, 10, 10, 10]
    now_s += LONGEST_PAUSE_S
    breaker.succeeded(breaker.asked(now_s), now_s)
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(breaker.asked(now_s), now_s)
    assert breaker.retry_after_s(now_s) == FIRST_PAUSE_S


@given(some.floats(0, 1), some.none() | some.floats(0, 1e6))
def test_a_pause_is_jittered_and_at_least_what_the_backend_asks_for_within_reason(jitter: float, asked: float | None):
    pause_s = opened(jitter=jitter, retry_after_s=asked).retry_after_s(0.0)
    assert pause_s >= max(FIRST_PAUSE_S / 2, min(asked or 0, LONGEST_ASKED_S))
    assert pause_s <= max(FIRST_PAUSE_S, min(asked or 0, LONGEST_ASKED_S))


def test_calls_that_were_asked_before_it_opened_do_not_change_it():
    breaker = Breaker(lambda: 0.0)
    hung = breaker.asked(0.0)
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(hung, 0.0)
    breaker.succeeded(hung, 0.1)
    breaker.failed(hung, 0.1)
    assert breaker.retry_after_s(0.0) == FIRST_PAUSE_S
    trial = breaker.asked(FIRST_PAUSE_S)
    breaker.failed(hung, FIRST_PAUSE_S)
    breaker.succeeded(hung, FIRST_PAUSE_S)
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(trial, FIRST_PAUSE_S)
    for _ in range(LEAST_CALLS):
        breaker.failed(hung, FIRST_PAUSE_S)
    assert breaker.state is State.CLOSED


def test_a_trial_that_hangs_lets_another_one_try_and_what_comes_of_either_counts():
    breaker, later_s = opened(), FIRST_PAUSE_S + LONGEST_TRIAL_S
    hangs = breaker.asked(FIRST_PAUSE_S)
    assert breaker.why_not(later_s - 0.1)
    assert breaker.why_not(later_s) == ""
    another = breaker.asked(later_s)
    assert breaker.why_not(later_s)
    breaker.failed(another, later_s)
    breaker.dropped(hangs, later_s)
    assert (breaker.state, breaker.retry_after_s(later_s)) == (State.OPEN, 2 * FIRST_PAUSE_S)


def test_who_watches_sees_what_a_call_would_meet():
    breaker = opened()
    assert breaker.told(0.99 * FIRST_PAUSE_S) is State.OPEN
    assert breaker.told(FIRST_PAUSE_S) is State.HALF_OPEN
    assert breaker.told(FIRST_PAUSE_S + FORGOTTEN_S) is State.CLOSED
    assert breaker.state is State.OPEN
    breaker.asked(FIRST_PAUSE_S + FORGOTTEN_S)
    assert breaker.told(FIRST_PAUSE_S + FORGOTTEN_S) is State.HALF_OPEN


def shown(backend: str) -> float | None:
    """What Prometheus would read now."""
    return REGISTRY.get_sample_value("tutelage_breaker_state", {"task": "say", "backend": backend})


def test_the_metric_needs_no_call_to_be_true(monkeypatch: pytest.MonkeyPatch):
    breaker = Standings({}.get).of(a_task(), inference.BACKEND_TEACHER, 0).breaker
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(breaker.asked(100.0), 100.0)
    for now_s, state in ((100.1, State.OPEN), (101.0, State.HALF_OPEN), (101.0 + FORGOTTEN_S, State.CLOSED)):
        monkeypatch.setattr("time.monotonic", lambda now_s=now_s: now_s)
        assert shown("teacher") == state


def test_the_metric_is_of_the_student_that_serves_not_of_one_that_was_rolled_back(monkeypatch: pytest.MonkeyPatch):
    promoted = {"say": a_promotion(events.POLICY_KIND_STUDENT_ONLY, version=4)}
    standings, now_s = Standings(promoted.get), 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    for _ in range(FAILURES_IN_A_ROW):
        standings.of(a_task(), inference.BACKEND_STUDENT, 4).breaker.failed(0, now_s)
    assert shown("student") == State.OPEN
    promoted["say"].student_version = 3
    assert shown("student") == State.CLOSED
    standings.of(a_task(), inference.BACKEND_STUDENT, 3)
    assert shown("student") == State.CLOSED


async def fail(gateway: Gateway, times: int = FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        await status_of(gateway.inference.Complete(a_request()))


@pytest.mark.contract
async def test_a_teacher_that_only_fails_is_not_asked_and_the_caller_is_told_when_to_come_again(
    gateway: Gateway,
) -> None:
    gateway.teacher.breaks()
    await fail(gateway)
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert (code, len(gateway.teacher.asks)) == (grpc.StatusCode.UNAVAILABLE, FAILURES_IN_A_ROW)
    assert details.startswith("no backend could answer (teacher: breaker: it failed too often, and is asked again in ")
    attempt = gateway.spool.exchanges[-1].attempts[0]
    assert (attempt.end, attempt.latency_us) == (inference.END_FAILED, 0)
    assert shown("teacher") == State.OPEN


def test_pauses_go_on_growing_for_who_begins_to_answer_and_breaks_off_until_it_answers_to_the_end():
    breaker, now_s, pauses_s = opened(), 0.0, []
    for _ in range(4):
        now_s += breaker.retry_after_s(now_s)
        trial = breaker.asked(now_s)
        breaker.spoke(trial)
        assert breaker.state is State.CLOSED
        for _ in range(FAILURES_IN_A_ROW):
            breaker.failed(trial, now_s)
        pauses_s.append(breaker.retry_after_s(now_s))
    assert pauses_s == pytest.approx([2.0, 4.0, 8.0, LONGEST_PAUSE_S])
    now_s += LONGEST_PAUSE_S
    trial = breaker.asked(now_s)
    breaker.spoke(trial)
    breaker.succeeded(trial, now_s)
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(trial, now_s)
    assert breaker.retry_after_s(now_s) == pytest.approx(FIRST_PAUSE_S)


@pytest.mark.contract
async def test_a_stream_that_tries_has_told_enough_with_its_first_word(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.breaker.FIRST_PAUSE_S", 0.0)
    gateway.teacher.breaks()
    await fail(gateway)
    gateway.teacher.failure, gateway.teacher.stalls_after = None, 1
    stream = gateway.inference.CompleteStream(a_request())
    await anext(aiter(stream))
    assert shown("teacher") == State.CLOSED
    stream.cancel()


@pytest.mark.contract
async def test_what_is_behind_a_student_that_is_left_alone_answers_at_once(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    for _ in range(FAILURES_IN_A_ROW):
        await gateway.inference.Complete(a_request())
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert len(gateway.student.asks) == FAILURES_IN_A_ROW
    assert "; the student is not asked: breaker: it failed too often" in reply.why
    ends = [attempt.end for attempt in gateway.spool.exchanges[-1].attempts]
    assert ends == [inference.END_REPLACED, inference.END_COMPLETE]


@pytest.mark.contract
async def test_another_version_of_the_student_is_not_judged_by_the_one_that_fails(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    for _ in range(FAILURES_IN_A_ROW):
        await gateway.inference.Complete(a_request())
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY, version=4)
    gateway.student.failure = None
    assert (await gateway.inference.Complete(a_request())).answered_by == inference.BACKEND_STUDENT


@pytest.mark.contract
@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.TIMEOUT])
async def test_neither_refused_requests_nor_hurried_callers_open_it(gateway: Gateway, kind: FailureKind) -> None:
    if kind is FailureKind.REFUSED:
        gateway.teacher.breaks(kind)
    else:
        gateway.teacher.delay_s = 60
    for _ in range(FAILURES_IN_A_ROW):
        await status_of(gateway.inference.Complete(a_request(), timeout=0.05))
    gateway.teacher.failure, gateway.teacher.delay_s = None, 0.0
    assert (await gateway.inference.Complete(a_request())).answered_by == inference.BACKEND_TEACHER


@pytest.mark.contract
async def test_a_backend_that_says_when_to_come_again_is_taken_at_its_word(gateway: Gateway) -> None:
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=7.0)
    await fail(gateway)
    await status_of(gateway.inference.Complete(a_request()))
    assert "asked again in 7.0 s" in gateway.spool.exchanges[-1].error or "6.9 s" in gateway.spool.exchanges[-1].error
