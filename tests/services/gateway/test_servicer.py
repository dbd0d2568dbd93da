"""The gateway over gRPC, with backends, promotions and spool in memory."""

import asyncio
from decimal import Decimal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import topics
from services.gateway.backends import FailureKind
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, until

pytestmark = pytest.mark.contract
AN_ID = "0190a0b0-0000-7000-8000-00000000000A"


async def eventually_written(gateway: Gateway) -> events.Exchange:
    """The exchange of a call that did not wait for its end."""
    await until(lambda: gateway.spool.exchanges)
    return gateway.exchange


async def status_of(call: "grpc.aio.UnaryUnaryCall") -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), str(failed.value.details())


async def test_without_a_promotion_the_teacher_answers(gateway: Gateway) -> None:
    reply = await gateway.inference.Complete(a_request())
    assert reply.message.content == "the teacher says so"
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert (reply.model, reply.student_version, reply.finish) == ("gpt-4", 0, inference.FINISH_STOP)
    assert reply.why == "teacher only: no student is promoted"
    assert gateway.student.asks == []


async def test_the_exchange_holds_the_request_the_reply_and_the_attempt(gateway: Gateway) -> None:
    request = a_request(metadata={"kind": "test"}, group_key="customer 7")
    reply = await gateway.inference.Complete(request)
    exchange = gateway.exchange
    assert exchange.request == request
    assert exchange.reply == reply
    assert exchange.id == reply.exchange_id
    assert (exchange.outcome, exchange.error, exchange.origin) == (events.OUTCOME_ANSWERED, "", "grpc")
    assert [(attempt.backend, attempt.refusal) for attempt in exchange.attempts] == [(inference.BACKEND_TEACHER, "")]
    assert exchange.started_at.ToNanoseconds() <= exchange.finished_at.ToNanoseconds()


async def test_the_cost_is_the_sum_of_all_attempts(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_CASCADE, min_confidence=-0.01)
    reply = await gateway.inference.Complete(a_request())
    student, teacher = gateway.exchange.attempts
    assert Decimal(student.cost_usd) == Decimal("0.0000104")  # 104 tokens at 0.1 dollars per million
    assert Decimal(teacher.cost_usd) == Decimal("0.00324")  # 100 tokens at 30 dollars per million and 4 at 60
    assert Decimal(reply.cost_usd) == Decimal("0.0032504")


async def test_a_student_only_task_is_answered_by_the_student(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_STUDENT
    assert (reply.student_version, reply.model) == (3, "tiny")
    assert reply.message.content == "the student says so"
    assert gateway.teacher.asks == []
    assert gateway.student.asks[0].student_version == 3


async def test_a_cascade_keeps_an_answer_that_is_sure_enough(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_CASCADE, min_confidence=-0.5)
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_STUDENT
    assert reply.why == "cascade: confidence -0.02 not below -0.50"
    assert reply.confidence == pytest.approx(-0.02)


async def test_a_cascade_asks_the_teacher_where_the_student_is_not_sure(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_CASCADE, min_confidence=-0.5)
    gateway.student.confidence = -0.7
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert reply.why == "cascade; the student's answer is not kept: confidence: -0.70 below -0.50"
    assert reply.confidence == pytest.approx(-0.7)
    assert gateway.exchange.attempts[0].message.content == "the student says so"
    assert gateway.exchange.attempts[0].refusal == "confidence: -0.70 below -0.50"
    assert gateway.exchange.attempts[1].refusal == ""


async def test_a_share_of_nothing_goes_to_the_teacher_and_of_all_to_the_student(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_SHARE, share=0.0)
    assert (await gateway.inference.Complete(a_request())).answered_by == inference.BACKEND_TEACHER
    gateway.promote(events.POLICY_KIND_SHARE, share=1.0)
    assert (await gateway.inference.Complete(a_request())).answered_by == inference.BACKEND_STUDENT


async def test_an_answer_that_fails_the_validators_goes_to_the_teacher(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.text = "nonsense"
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert "regex" in gateway.exchange.attempts[0].refusal


async def test_a_broken_student_goes_to_the_teacher(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    reply = await gateway.inference.Complete(a_request())
    assert reply.answered_by == inference.BACKEND_TEACHER
    assert gateway.exchange.attempts[0].refusal == "unavailable: it is broken"
    assert gateway.exchange.attempts[0].student_version == 3


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
    assert exchange.attempts[0].refusal == "cancelled: the caller went away"
    assert gateway.teacher.cancelled == 1


async def test_a_cancelled_stream_stops_the_backend_and_is_written_down(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    call = gateway.inference.CompleteStream(a_request())
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert gateway.teacher.cancelled == 1


async def test_a_full_spool_refuses_the_call_before_anybody_is_asked(gateway: Gateway) -> None:
    gateway.spool.full = "the spool is full"
    for call in (gateway.inference.Complete(a_request()), gateway.feedback.Record(_feedback())):
        assert await status_of(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the spool is full")
    assert gateway.teacher.asks == []


async def test_an_answer_that_cannot_be_written_down_is_not_given(gateway: Gateway) -> None:
    gateway.spool.broken = "the disk has just failed"
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert (code, details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk has just failed")


async def test_the_same_request_id_under_way_is_one_exchange(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 0.1
    request = a_request(request_id=AN_ID)
    first, second = await asyncio.gather(gateway.inference.Complete(request), gateway.inference.Complete(request))
    assert first == second
    assert first.exchange_id == AN_ID.lower()
    assert len(gateway.spool.exchanges) == len(gateway.teacher.asks) == 1


async def test_the_same_request_id_after_the_answer_is_one_exchange(gateway: Gateway) -> None:
    request = a_request(request_id=AN_ID)
    first = await gateway.inference.Complete(request)
    assert await gateway.inference.Complete(request) == first
    (chunk,) = [chunk async for chunk in gateway.inference.CompleteStream(request)]
    assert (chunk.delta, chunk.reply) == (first.message.content, first)
    assert len(gateway.spool.exchanges) == 1


async def test_the_same_request_id_with_another_request_is_refused(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(request_id=AN_ID))
    code, details = await status_of(gateway.inference.Complete(a_request("another", request_id=AN_ID)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("request_id: belongs to another request")


async def test_a_failed_request_may_be_sent_again_under_its_id(gateway: Gateway) -> None:
    gateway.teacher.breaks()
    await status_of(gateway.inference.Complete(a_request(request_id=AN_ID)))
    gateway.teacher.failure = None
    reply = await gateway.inference.Complete(a_request(request_id=AN_ID))
    assert reply.message.content == "the teacher says so"
    assert {exchange.id for exchange in gateway.spool.exchanges} == {AN_ID.lower()}


async def test_who_waits_for_a_cancelled_twin_is_answered_himself(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    request = a_request(request_id=AN_ID)
    first = gateway.inference.Complete(request)
    await until(lambda: gateway.teacher.asks)
    gateway.teacher.delay_s = 0
    second = gateway.inference.Complete(request)
    await until(lambda: gateway.door.open_calls == 2)
    first.cancel()
    assert (await second).message.content == "the teacher says so"
    assert [exchange.outcome for exchange in gateway.spool.exchanges] == [
        events.OUTCOME_CANCELLED,
        events.OUTCOME_ANSWERED,
    ]


async def test_a_stream_passes_tokens_on_and_ends_with_the_reply(gateway: Gateway) -> None:
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " teacher", " says", " so", ""]
    assert not any(chunk.HasField("reply") for chunk in chunks[:-1])
    assert chunks[-1].reply == gateway.exchange.reply
    assert 0 < chunks[-1].reply.timings.first_token_us <= chunks[-1].reply.timings.total_us


async def test_a_stream_of_the_student_passes_tokens_on(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " student", " says", " so", ""]


async def test_a_stream_starts_again_with_the_teacher_when_the_student_breaks_in_the_middle(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks(after=2)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [(chunk.delta, chunk.restart) for chunk in chunks] == [
        ("the", False),
        (" student", False),
        ("", True),
        ("the", False),
        (" teacher", False),
        (" says", False),
        (" so", False),
        ("", False),
    ]
    assert chunks[-1].reply.answered_by == inference.BACKEND_TEACHER


async def test_a_stream_starts_again_when_the_students_answer_is_not_valid(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.text = "nonsense and more"
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.restart for chunk in chunks].count(True) == 1
    assert chunks[-1].reply.message.content == "the teacher says so"


async def test_a_cascades_stream_shows_only_what_is_kept(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_CASCADE, min_confidence=-0.5)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the student says so", ""]
    gateway.student.confidence = -0.7
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " teacher", " says", " so", ""]
    assert not any(chunk.restart for chunk in chunks)


async def test_a_stream_that_fails_ends_with_the_status_of_a_call(gateway: Gateway) -> None:
    gateway.teacher.breaks(after=1)
    call = gateway.inference.CompleteStream(a_request())
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        [chunk async for chunk in call]
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert gateway.exchange.outcome == events.OUTCOME_FAILED


async def test_a_call_above_the_limit_of_open_calls_is_refused_with_a_reason(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    held = [gateway.inference.Complete(a_request()) for _ in range(4)]
    await until(lambda: len(gateway.teacher.asks) == 4)
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details == "4 calls are open, the limit of this gateway: try again later"
    for call in held:
        call.cancel()


async def test_a_message_above_the_servers_limit_is_refused(gateway: Gateway) -> None:
    code, details = await status_of(gateway.inference.Complete(a_request("x" * 3_000_000)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2097152" in details


async def test_intake_says_that_a_request_came_by_kafka(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(), metadata=(("x-tutelage-origin", "kafka"),))
    await gateway.inference.Complete(a_request(), metadata=(("x-tutelage-origin", "elsewhere"),))
    assert [exchange.origin for exchange in gateway.spool.exchanges] == ["kafka", "grpc"]


def _feedback(**fields: object) -> events.FeedbackRecord:
    return events.FeedbackRecord(**{"exchange_id": AN_ID, "task": "say", "rating": 1.0, **fields})


async def test_feedback_is_written_down_with_an_id_and_a_time(gateway: Gateway) -> None:
    receipt = await gateway.feedback.Record(_feedback(group_key="customer 7", correction="it is this"))
    (record,) = gateway.spool.records
    stored = topics.decode(record)
    assert (record.topic, record.key) == ("feedback", b"customer 7")
    assert (stored.id, stored.exchange_id, stored.correction) == (receipt.id, AN_ID.lower(), "it is this")
    assert stored.created_at.seconds > 0


async def test_health_says_that_it_serves_until_it_stops(gateway: Gateway) -> None:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="tutelage.v1.Inference"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(gateway.server.stop())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    await stopping


async def test_a_stopping_gateway_finishes_what_is_open(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 0.2
    call = gateway.inference.Complete(a_request())
    await until(lambda: gateway.teacher.asks)
    stopping = asyncio.create_task(gateway.server.stop())
    assert (await call).message.content == "the teacher says so"
    await stopping


async def test_reflection_names_the_services(gateway: Gateway) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answers = [answer async for answer in stub.ServerReflectionInfo(asked)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"tutelage.v1.Inference", "tutelage.v1.Feedback", "grpc.health.v1.Health"} <= names
