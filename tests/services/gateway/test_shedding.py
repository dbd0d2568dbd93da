"""Calls that are refused at once, so that those that matter more are answered, and what they are told."""

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as some

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.pace import LEAST_NOTED
from services.gateway.router import Plan, Step
from services.gateway.shedding import places
from services.gateway.standing import Standings
from services.tasks import Cache
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, a_task, until
from tests.services.gateway.test_pace import a_pace

LOW, NORMAL, HIGH = inference.PRIORITY_LOW, inference.PRIORITY_UNSPECIFIED, inference.PRIORITY_HIGH


@given(some.integers(1, 200_000))
def test_the_higher_the_priority_the_more_places_there_are(max_open_calls: int):
    limits = places(max_open_calls)
    assert 1 <= limits[LOW] <= limits[NORMAL] <= limits[HIGH] == max_open_calls


def test_of_120_000_places_84_000_are_for_all():
    assert places(120_000) == {LOW: 84_000, NORMAL: 108_000, HIGH: 120_000}


def test_as_long_as_one_backend_is_not_known_any_time_may_do():
    standings, task = Standings({}.get), a_task()
    steps = tuple(
        Step(backend, 10.0, streams=True) for backend in (inference.BACKEND_TEACHER, inference.BACKEND_STUDENT)
    )
    plan, now_s = Plan(steps, "", events.Policy(), 3), time.monotonic()
    for backend, takes_s in ((inference.BACKEND_TEACHER, 0.5), (inference.BACKEND_STUDENT, 0.2)):
        assert standings.least_s(task, plan, NORMAL) == 0
        standings.of(task, backend, 3).answers = a_pace(*[takes_s] * LEAST_NOTED, now_s=now_s)
    assert standings.least_s(task, plan, NORMAL) == pytest.approx(0.2, rel=0.1)


@pytest.mark.contract
@pytest.mark.parametrize(
    ("priority", "open_calls", "let_in"),
    [(LOW, 2, True), (LOW, 3, False), (NORMAL, 3, True), (NORMAL, 4, False), (HIGH, 3, True), (HIGH, 4, False)],
)
async def test_a_call_is_let_in_as_its_priority_allows(
    gateway: Gateway, priority: inference.Priority, open_calls: int, let_in: bool
) -> None:
    gateway.teacher.delay_s = 60
    held = [gateway.inference.Complete(a_request(priority=HIGH)) for _ in range(open_calls)]
    await until(lambda: len(gateway.teacher.asks) == open_calls)
    gateway.teacher.delay_s = 0
    if let_in:
        await gateway.inference.Complete(a_request(priority=priority))
    else:
        code, details = await status_of(gateway.inference.Complete(a_request(priority=priority)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details.startswith(f"{open_calls} calls are open, the limit of this gateway")
    for call in held:
        call.cancel()
    await asyncio.wait([asyncio.ensure_future(call.code()) for call in held])


async def learn(gateway: Gateway, takes_s: float) -> None:
    """The teacher's answers have lately taken that long."""
    await gateway.inference.Complete(a_request())
    standing = gateway.exchanges._standings.of(gateway.task, inference.BACKEND_TEACHER, 0)
    (took_at_s,) = [asyncio.get_running_loop().time()]
    for _ in range(20 * LEAST_NOTED):
        standing.answers.note(takes_s, took_at_s)
    standing.answers._told.clear()


@pytest.mark.contract
async def test_a_call_that_has_less_time_than_answers_take_now_is_refused_at_once(gateway: Gateway) -> None:
    await learn(gateway, 3.0)
    for priority in (LOW, NORMAL, HIGH):
        code, details = await status_of(gateway.inference.Complete(a_request(priority=priority), timeout=1))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "of the answers take more than " in details
    assert len(gateway.spool.exchanges) == 1  # Nobody was asked.
    assert (await gateway.inference.Complete(a_request(), timeout=30)).message.content


@pytest.mark.contract
async def test_a_call_whose_answer_is_kept_has_time_enough(gateway: Gateway) -> None:
    gateway.task.__dict__["cache"] = Cache(ttl_s=60)
    await learn(gateway, 3.0)
    assert (await gateway.inference.Complete(a_request(), timeout=1)).cached
    code, _details = await status_of(gateway.inference.Complete(a_request("what else?"), timeout=1))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.contract
async def test_of_calls_with_little_time_those_that_matter_more_are_tried_sooner(gateway: Gateway) -> None:
    await learn(gateway, 0.001)
    standing = gateway.exchanges._standings.of(gateway.task, inference.BACKEND_TEACHER, 0)
    for _ in range(80 * LEAST_NOTED):  # Four of five answers take 3 s, and one comes at once.
        standing.answers.note(3.0, asyncio.get_running_loop().time())
    standing.answers._told.clear()
    for priority, code in ((LOW, False), (NORMAL, False), (HIGH, True)):
        call = gateway.inference.Complete(a_request(priority=priority), timeout=1)
        assert (await call.code() is grpc.StatusCode.OK) == code


async def hint(call: grpc.aio.Call) -> tuple[grpc.StatusCode, str | None, float | None]:
    """The code, and both hints, of a call that fails."""
    trailers = dict(await call.trailing_metadata())
    if "retry-after" not in trailers:
        return await call.code(), None, None
    told = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert (told.code, told.message) == ((await call.code()).value[0], await call.details())
    info = error_details_pb2.RetryInfo()
    assert told.details[0].Unpack(info)
    return await call.code(), trailers["retry-after"], info.retry_delay.ToMilliseconds() / 1000


@pytest.mark.contract
async def test_who_is_refused_is_told_when_to_come_again(gateway: Gateway) -> None:
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=2.5)
    call = gateway.inference.Complete(a_request())
    assert await hint(call) == (grpc.StatusCode.UNAVAILABLE, "3", 2.5)
    gateway.spool.full = "the spool is full"
    call = gateway.inference.CompleteStream(a_request())
    assert await hint(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "5", 5.0)


@pytest.mark.contract
async def test_whose_request_is_at_fault_is_not_told_to_send_it_again(gateway: Gateway) -> None:
    gateway.teacher.breaks(FailureKind.REFUSED)
    assert await hint(gateway.inference.Complete(a_request())) == (grpc.StatusCode.INVALID_ARGUMENT, None, None)
    assert (await hint(gateway.inference.Complete(a_request(task="none"))))[1] is None


@pytest.mark.contract
async def test_of_two_backends_the_one_that_may_be_asked_sooner_counts(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.failure = BackendFailed(FailureKind.UNAVAILABLE, "busy", retry_after_s=0.5)
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=20)
    assert await hint(gateway.inference.Complete(a_request())) == (grpc.StatusCode.UNAVAILABLE, "1", 0.5)
