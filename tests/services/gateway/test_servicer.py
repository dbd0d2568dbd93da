"""Who answers over gRPC, under every policy, and what the exchange says of it."""

from decimal import Decimal

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request

pytestmark = pytest.mark.contract


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
