"""Exchanges that end badly: deadlines, cancelled calls, failing backends, a full spool."""

import grpc
import pytest
import structlog

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import FailureKind
from services.gateway.breaker import FAILURES_IN_A_ROW
from tests.services.gateway.calls import eventually_written, status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_feedback, a_request, until

pytestmark = pytest.mark.contract


async def test_a_broken_student_goes_to_the_teacher(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert gateway.exchange.attempts[0].refusal == "unavailable: it is broken"
    assert gateway.exchange.attempts[0].student_version == 3


@pytest.mark.parametrize("kind", [events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_CASCADE])
async def test_a_prompt_that_the_student_refuses_goes_to_the_teacher(gateway: Gateway, kind: events.PolicyKind) -> None:
    gateway.promote(kind, min_confidence=-1.0 if kind == events.POLICY_KIND_CASCADE else 0.0)
    gateway.student.breaks(FailureKind.REFUSED)
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert gateway.exchange.outcome == events.OUTCOME_ANSWERED
    assert [attempt.refusal for attempt in gateway.exchange.attempts] == ["refused: it is broken", ""]


async def test_a_slow_student_is_stopped_in_time_for_the_teacher(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.delay_s = 60
    reply = await gateway.inference.Complete(a_request(), timeout=2)
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert gateway.student.cancelled == 1
    assert gateway.exchange.attempts[0].refusal.startswith("timeout: no answer within 1.")
    assert reply.timings.student_us >= 100_000  # It was waited for, and the 0.2 s that the teacher needs were left.


async def test_the_deadline_is_passed_on(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(), timeout=3)
    assert 2 < gateway.teacher.asks[0].timeout_s < 3


async def test_without_a_deadline_the_tasks_budget_is_passed_on(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request())
    assert 9 < gateway.teacher.asks[0].timeout_s < 10


async def test_a_passed_deadline_stops_the_backend_and_is_written_down(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    code, _details = await status_of(gateway.inference.Complete(a_request(), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_DEADLINE_EXCEEDED
    assert not exchange.HasField("reply")
    assert gateway.teacher.cancelled == 1


async def test_a_task_without_a_callers_deadline_says_what_took_too_long(gateway: Gateway) -> None:
    gateway.task.__dict__["latency_budget_ms"] = 100
    gateway.teacher.delay_s = 60
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details.startswith("no answer within the deadline of 0.10 s, allow more time (teacher: timeout")


async def test_a_failed_exchange_is_written_down_and_unavailable(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.teacher.breaks()
    gateway.student.breaks()
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == (
        "no backend could answer (student: unavailable: it is broken; teacher: unavailable: it is broken)"
    )
    assert gateway.exchange.outcome == events.OUTCOME_FAILED
    assert gateway.exchange.error == details
    assert len(gateway.exchange.attempts) == 2


async def test_a_request_that_the_teacher_refuses_is_the_callers_to_change(gateway: Gateway) -> None:
    gateway.teacher.breaks(FailureKind.REFUSED)
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "refused: it is broken" in details


async def test_a_cancelled_call_stops_the_backend_and_is_written_down(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    call = gateway.inference.Complete(a_request())
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert exchange.attempts[0].refusal == "cancelled: the call ended before its answer"
    assert gateway.teacher.cancelled == 1


async def test_a_full_spool_refuses_the_call_before_anybody_is_asked(gateway: Gateway) -> None:
    gateway.spool.full = "the spool is full"
    for call in (gateway.inference.Complete(a_request()), gateway.feedback.Record(a_feedback())):
        assert await status_of(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the spool is full")
    assert gateway.teacher.asks == []


async def test_an_answer_that_cannot_be_written_down_is_not_given(gateway: Gateway) -> None:
    gateway.spool.broken = "the disk has just failed"
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert (code, details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk has just failed")


async def broken(_ask: object, _on_text: object) -> events.Attempt:
    raise RuntimeError("sk-secret")


async def test_whatever_befalls_a_backend_another_one_is_asked_and_the_log_says_what(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    monkeypatch.setattr(gateway.student, "answer", broken)
    with structlog.testing.capture_logs() as logged:
        reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    first = gateway.exchange.attempts[0]
    assert (first.refusal, first.end) == ("internal: RuntimeError, the gateway's log says more", inference.END_REPLACED)
    assert [(line["backend"], repr(line["exc_info"])) for line in logged if "exc_info" in line] == [
        ("student", "RuntimeError('sk-secret')")
    ]
    for _ in range(FAILURES_IN_A_ROW):
        await gateway.inference.Complete(a_request())
    assert gateway.spool.exchanges[-1].attempts[0].refusal.startswith("breaker: ")


async def test_the_log_says_once_that_a_backend_is_left_alone_and_once_that_it_answers_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.breaker.FIRST_PAUSE_S", 0.0)
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    with structlog.testing.capture_logs() as logged:
        for _ in range(FAILURES_IN_A_ROW + 2):
            await gateway.inference.Complete(a_request())
        gateway.student.failure = None
        for _ in range(2):
            await gateway.inference.Complete(a_request())
    told = [(line["event"], line["backend"], line.get("reason")) for line in logged if "backend" in line]
    assert told == [
        ("a backend fails too often: it is left alone", "student", "unavailable"),
        ("a backend answers again", "student", None),
    ]


async def test_an_answer_that_can_not_even_be_judged_is_not_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)

    def deep(*_given: object) -> str:
        raise RecursionError

    monkeypatch.setattr("services.gateway.router.student_refusal", deep)
    assert (await gateway.inference.Complete(a_request())).answered_by == inference.BACKEND_TEACHER


async def test_where_everybody_fails_by_a_fault_nobody_is_told_its_text(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.teacher, "answer", broken)
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == "no backend could answer (teacher: internal: RuntimeError, the gateway's log says more)"
    assert gateway.exchange.outcome == events.OUTCOME_FAILED
    assert "sk-secret" not in str(gateway.exchange)
