"""Calls that ask the second backend while the first is still at it."""

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.breaker import FAILURES_IN_A_ROW
from services.tasks import Hedging
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, until
from tests.services.gateway.test_takeovers import heard

pytestmark = pytest.mark.contract
TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT


@pytest.fixture
def hedging(gateway: Gateway) -> Gateway:
    """A gateway whose student answers, and whose teacher is asked, too, when that one has said nothing for 20 ms."""
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.task.__dict__["hedging"] = Hedging(after_ms=20, most=1.0)
    return gateway


def the_two(gateway: Gateway) -> list[tuple[inference.Backend, bool, inference.End, str]]:
    attempts = gateway.exchange.attempts
    return [(attempt.backend, attempt.hedge, attempt.end, attempt.refusal) for attempt in attempts]


async def test_a_quick_student_is_not_hedged(hedging: Gateway) -> None:
    assert (await hedging.inference.Complete(a_request())).answered_by == STUDENT
    assert hedging.teacher.asks == []


async def test_the_first_good_answer_wins_and_the_slow_one_is_ended_and_paid(hedging: Gateway) -> None:
    hedging.student.delay_s = 60
    reply = await hedging.inference.Complete(a_request())
    assert (reply.answered_by, hedging.student.cancelled, hedging.student.slow) == (TEACHER, 1, 0)
    assert the_two(hedging) == [
        (STUDENT, False, inference.END_REPLACED, "replaced: the teacher was quicker"),
        (TEACHER, True, inference.END_COMPLETE, ""),
    ]
    first, second = hedging.exchange.attempts
    assert 0 < first.started_us < second.started_us < first.started_us + first.latency_us
    assert hedging.exchange.attempts[0].cost_usd == "0.00001000"  # The 100 tokens that it read.
    assert reply.cost_usd == "0.00325000"


async def test_a_hedge_that_is_not_needed_any_more_is_ended(hedging: Gateway) -> None:
    hedging.student.delay_s, hedging.teacher.delay_s = 0.1, 60
    assert (await hedging.inference.Complete(a_request())).answered_by == STUDENT
    assert hedging.teacher.cancelled == 1
    assert the_two(hedging) == [
        (STUDENT, False, inference.END_COMPLETE, ""),
        (TEACHER, True, inference.END_REPLACED, "replaced: the student was quicker"),
    ]


async def test_an_answer_that_is_not_good_does_not_win(hedging: Gateway) -> None:
    hedging.student.delay_s, hedging.student.text, hedging.teacher.delay_s = 0.05, "nonsense", 0.1
    assert (await hedging.inference.Complete(a_request())).answered_by == TEACHER
    assert [end for _, _, end, _ in the_two(hedging)] == [inference.END_REPLACED, inference.END_COMPLETE]


async def test_a_hedge_that_fails_changes_nothing(hedging: Gateway) -> None:
    hedging.student.delay_s = 0.1
    hedging.teacher.breaks()
    assert (await hedging.inference.Complete(a_request())).answered_by == STUDENT
    assert [end for _, _, end, _ in the_two(hedging)] == [inference.END_COMPLETE, inference.END_REPLACED]


async def test_of_two_streams_the_one_that_speaks_first_is_heard_alone(hedging: Gateway) -> None:
    hedging.student.delay_s = 0.1
    hedging.teacher.delay_s = 0.02
    pieces, reply = await heard(hedging)
    assert (pieces, reply.answered_by) == (["the", " teacher", " says", " so"], TEACHER)
    assert hedging.student.cancelled == 1


async def test_a_stream_that_won_and_breaks_goes_over_to_the_one_that_gave_way(hedging: Gateway) -> None:
    hedging.student.delay_s = 0.1
    hedging.teacher.breaks(after=1)
    pieces, reply = await heard(hedging)
    assert pieces == ["the", "<restart>", "the", " student", " says", " so"]
    assert [attempt.backend for attempt in hedging.exchange.attempts] == [STUDENT, TEACHER, STUDENT]
    assert reply.answered_by == STUDENT


async def test_a_stream_that_has_begun_is_not_hedged(hedging: Gateway) -> None:
    hedging.student.stalls_after = 1
    hedging.task.student.__dict__["stall_s"] = 0.1
    await heard(hedging)
    assert [hedge for _, hedge, _, _ in the_two(hedging)] == [False, False]


async def test_a_cancelled_call_ends_both(hedging: Gateway) -> None:
    hedging.student.delay_s = hedging.teacher.delay_s = 60
    call = hedging.inference.Complete(a_request())
    await until(lambda: hedging.teacher.asks)
    call.cancel()
    await until(lambda: hedging.spool.exchanges)
    assert [end for _, _, end, _ in the_two(hedging)] == [inference.END_CANCELLED] * 2
    assert (hedging.student.cancelled, hedging.teacher.cancelled) == (1, 1)


async def test_calls_above_the_budget_wait(hedging: Gateway) -> None:
    hedging.task.__dict__["hedging"] = Hedging(after_ms=20, most=0.5)
    hedging.student.delay_s = 0.1
    for _ in range(4):
        await hedging.inference.Complete(a_request())
    assert len(hedging.teacher.asks) == 2


async def test_a_teacher_that_is_left_alone_is_no_hedge(hedging: Gateway) -> None:
    promoted = hedging.promotions.pop("say")
    hedging.teacher.breaks()
    for _ in range(FAILURES_IN_A_ROW):
        await status_of(hedging.inference.Complete(a_request()))
    hedging.promotions["say"] = promoted
    hedging.teacher.failure, hedging.student.delay_s = None, 0.1
    assert (await hedging.inference.Complete(a_request())).answered_by == STUDENT
    assert len(hedging.teacher.asks) == FAILURES_IN_A_ROW


async def test_without_a_set_delay_a_call_is_hedged_that_takes_longer_than_is_usual(hedging: Gateway) -> None:
    hedging.task.__dict__["hedging"] = Hedging(most=1.0)
    for _ in range(60):
        await hedging.inference.Complete(a_request())
    hedging.student.delay_s = 60
    assert (await hedging.inference.Complete(a_request())).answered_by == TEACHER
