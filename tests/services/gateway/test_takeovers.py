"""Streams that break or stall in their midst, and go over to the other backend."""

import asyncio
import re
import time
from dataclasses import dataclass

import grpc
import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, FailureKind, OnText
from services.gateway.breaker import FAILURES_IN_A_ROW
from tests.fakes.backends import FakeBackend
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request

pytestmark = pytest.mark.contract
SHARE, STUDENT_ONLY = events.POLICY_KIND_SHARE, events.POLICY_KIND_STUDENT_ONLY
TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT
RESTART = "<restart>"


async def heard(gateway: Gateway, **fields: object) -> tuple[list[str], inference.Reply]:
    """Each piece, with a mark where the text so far is void, and the reply."""
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request(**fields), timeout=5)]
    return [RESTART if chunk.restart else chunk.delta for chunk in chunks[:-1]], chunks[-1].reply


def promote_behind_the_teacher(gateway: Gateway) -> None:
    gateway.promote(SHARE, share=1e-9)


def stall_in_a_blink(gateway: Gateway) -> None:
    for part in (gateway.task.teacher, gateway.task.student):
        part.__dict__["stall_s"] = 0.05


async def test_a_student_that_stalls_is_replaced_by_the_teacher_from_the_beginning(gateway: Gateway) -> None:
    stall_in_a_blink(gateway)
    gateway.promote(STUDENT_ONLY)
    gateway.student.stalls_after = 2
    pieces, reply = await heard(gateway)
    assert pieces == ["the", " student", RESTART, "the", " teacher", " says", " so"]
    assert (reply.message.content, reply.answered_by) == ("the teacher says so", TEACHER)
    first, second = gateway.exchange.attempts
    assert first.refusal.startswith("stall: nothing for 0.0")
    assert first.refusal.endswith(" s after 2 pieces")
    assert (first.message.content, first.finish, first.end) == ("the student", 0, inference.END_REPLACED)
    assert (second.resumed_characters, second.end) == (0, inference.END_COMPLETE)
    assert (gateway.student.cancelled, gateway.student.slow) == (1, 1)


async def test_a_teacher_that_stalls_before_its_first_word_is_replaced_by_the_student(gateway: Gateway) -> None:
    stall_in_a_blink(gateway)
    promote_behind_the_teacher(gateway)
    gateway.teacher.delay_s = 60
    pieces, reply = await heard(gateway)
    assert (pieces, reply.answered_by) == (["the", " student", " says", " so"], STUDENT)
    assert gateway.exchange.attempts[0].refusal.endswith("after 0 pieces")


@pytest.mark.parametrize("stalls", [True, False])
async def test_a_student_that_can_goes_on_from_where_the_teacher_broke_off(gateway: Gateway, stalls: bool) -> None:
    stall_in_a_blink(gateway)
    promote_behind_the_teacher(gateway)
    if stalls:
        gateway.teacher.stalls_after = 2
    else:
        gateway.teacher.breaks(after=2)
    gateway.student.text, gateway.student.resumes = "the teacher never lies", True
    pieces, reply = await heard(gateway)
    assert "".join(pieces) == reply.message.content == "the teacher never lies"
    assert reply.answered_by == STUDENT
    assert gateway.student.asks[0].partial == "the teacher"
    first, second = gateway.exchange.attempts
    assert (first.message.content, second.resumed_characters) == ("the teacher", len("the teacher"))
    assert [first.end, second.end, gateway.exchange.end] == [
        inference.END_REPLACED,
        inference.END_COMPLETE,
        inference.END_COMPLETE,
    ]


async def test_what_is_heard_of_a_stream_that_goes_on_and_is_not_kept_is_void(gateway: Gateway) -> None:
    promote_behind_the_teacher(gateway)
    gateway.teacher.text = "nonsense is what it says"
    gateway.teacher.breaks(after=2)
    gateway.student.text, gateway.student.resumes = "the student says so", True
    pieces, reply = await heard(gateway)
    assert pieces[:2] == ["nonsense", " is"]
    assert "".join(pieces[pieces.index(RESTART) + 1 :]) == "the student says so"
    assert reply.message.content == "the student says so"
    assert [ask.partial for ask in gateway.student.asks] == ["nonsense is", ""]
    ends = [inference.END_REPLACED, inference.END_REPLACED, inference.END_COMPLETE]
    assert [attempt.end for attempt in gateway.exchange.attempts] == ends
    assert gateway.exchange.attempts[1].refusal.startswith("regex")


async def test_a_beginning_that_the_student_refuses_to_go_on_from_is_answered_anew(gateway: Gateway) -> None:
    promote_behind_the_teacher(gateway)
    gateway.teacher.breaks(after=2)
    gateway.student.resumes = True
    gateway.student.breaks(FailureKind.REFUSED)
    with pytest.raises(grpc.aio.AioRpcError):
        await heard(gateway)
    assert [ask.partial for ask in gateway.student.asks] == ["the teacher", ""]


async def test_where_tools_may_be_called_nothing_is_gone_on_from(gateway: Gateway) -> None:
    promote_behind_the_teacher(gateway)
    gateway.teacher.breaks(after=2)
    gateway.student.resumes = True
    pieces, _reply = await heard(gateway, tools=[inference.Tool(name="find")])
    assert pieces == ["the", " teacher", RESTART, "the student says so"]


def allow(gateway: Gateway, deadline_s: float) -> None:
    """Callers set no deadline, so that it is the gateway that ends a call."""
    gateway.task.__dict__["latency_budget_ms"] = int(deadline_s * 1_000)


async def pieces_of(gateway: Gateway) -> list[str]:
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    return [RESTART if chunk.restart else chunk.delta for chunk in chunks[:-1]]


async def test_a_teacher_that_falls_silent_leaves_the_student_its_part_though_no_stall_is_learned(
    gateway: Gateway,
) -> None:
    allow(gateway, 0.8)
    promote_behind_the_teacher(gateway)
    gateway.teacher.stalls_after = 1
    assert await pieces_of(gateway) == ["the", RESTART, "the", " student", " says", " so"]
    first, second = gateway.exchange.attempts
    assert re.fullmatch(r"stall: nothing for [\d.]+ s after 1 pieces", first.refusal)
    assert (first.end, second.end) == (inference.END_REPLACED, inference.END_COMPLETE)
    assert first.latency_us > 0.55e6  # It had the rest.
    assert (gateway.teacher.cancelled, gateway.teacher.slow) == (1, 0)  # Its caller was in a hurry.


@dataclass
class Flowing(FakeBackend):
    """Says word after word, pauses while the student's part begins, and goes on."""

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        assert on_text is not None
        began_s, pieces = time.monotonic(), ["it"]
        while time.monotonic() < began_s + 0.55 * ask.timeout_s:
            on_text(pieces[-1])
            await asyncio.sleep(0.02)
            pieces.append(" flows")
        await asyncio.sleep(began_s + 0.82 * ask.timeout_s - time.monotonic())
        on_text(pieces[-1])
        return self._attempt(ask, pieces, self.finish)


async def test_a_stream_that_flows_is_not_cut_for_the_students_part_of_the_whole_time(gateway: Gateway) -> None:
    allow(gateway, 3.0)
    promote_behind_the_teacher(gateway)
    gateway.exchanges._backends.update({TEACHER: Flowing(TEACHER)})  # type: ignore[attr-defined]
    assert RESTART not in await pieces_of(gateway)
    (attempt,) = gateway.exchange.attempts
    assert attempt.end == inference.END_COMPLETE
    assert attempt.latency_us > 2.25e6  # So it went on in the last quarter.


async def test_a_stream_that_is_cut_tells_how_long_it_was_waited_for_and_that_it_had_begun(gateway: Gateway) -> None:
    allow(gateway, 0.8)
    promote_behind_the_teacher(gateway)
    gateway.teacher.stalls_after = 1
    stream = gateway.inference.CompleteStream(a_request())
    assert (await stream.read()).delta == "the"
    leave_the_student_alone(gateway)
    with pytest.raises(grpc.aio.AioRpcError, match=r"no answer within the deadline of 0\.80 s, allow more"):
        await stream.read()
    told = r"timeout: no whole answer within ([\d.]+) s, nothing for the last ([\d.]+) s after 1 pieces"
    told_s = re.fullmatch(told, gateway.exchange.attempts[0].refusal)
    assert told_s is not None
    assert min(map(float, told_s.groups())) > 0.7  # Of which the student would have had the last quarter.


async def test_a_stream_that_nobody_could_take_over_is_waited_for(gateway: Gateway) -> None:
    stall_in_a_blink(gateway)
    gateway.teacher.delay_s = 0.3
    pieces, _reply = await heard(gateway)
    assert pieces == ["the", " teacher", " says", " so"]


def leave_the_student_alone(gateway: Gateway) -> None:
    breaker = gateway.exchanges._standings.of(gateway.task, STUDENT, 3).breaker
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(0, time.monotonic(), retry_after_s=60)


async def test_a_teacher_is_not_hurried_for_a_student_that_is_left_alone(gateway: Gateway) -> None:
    promote_behind_the_teacher(gateway)
    leave_the_student_alone(gateway)
    gateway.teacher.delay_s = 1.6
    reply = await gateway.inference.Complete(
        a_request(), timeout=2
    )  # Of which the student would have the last quarter.
    assert reply.answered_by == TEACHER


async def test_a_stall_ends_no_stream_that_only_a_student_could_take_over_which_is_left_alone(gateway: Gateway) -> None:
    stall_in_a_blink(gateway)
    promote_behind_the_teacher(gateway)
    leave_the_student_alone(gateway)
    gateway.teacher.delay_s = 0.3
    pieces, _reply = await heard(gateway)
    assert pieces == ["the", " teacher", " says", " so"]


async def test_what_was_heard_of_an_answer_that_broke_off_is_paid_for(gateway: Gateway) -> None:
    gateway.promote(STUDENT_ONLY)
    gateway.student.breaks(after=2)
    await heard(gateway)
    usage = gateway.exchange.attempts[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 2)  # It read what the teacher read.
    assert gateway.exchange.attempts[0].cost_usd == "0.00001020"


async def test_an_attempt_tells_when_its_first_words_came(gateway: Gateway) -> None:
    await heard(gateway)
    attempt = gateway.exchange.attempts[0]
    assert 0 < attempt.first_text_us <= attempt.latency_us
