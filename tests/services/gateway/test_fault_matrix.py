"""Every way in which a backend breaks, for teacher and student, whole and streamed, with and without a second one.

Each call ends before its deadline, in an answer or in a clear status, and its exchange says what happened.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.student import TritonStudent
from services.gateway.teacher import OpenAITeacher
from tests.services.gateway import openai_like, triton_like
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request
from tests.services.gateway.openai_like import KEY, OpenAILike
from tests.services.gateway.triton_like import TritonLike

pytestmark = pytest.mark.contract
TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT
AWAY = "127.0.0.1:9"  # The discard port: nobody listens.
GOOD = '{"said": "it is so"}'
SCHEMA = '{"type": "object", "required": ["said"]}'
AMPLE_S = 20.0
"""Where something else tells that a backend is broken, also on a busy machine."""
STALL_S, STUDENT_TIMEOUT_S = 0.15, 0.5


@dataclass(frozen=True)
class Fault:
    """How each backend is made to do it, and with what the refusal of its attempt then begins.

    `whole_says`: the same of both where nothing but time tells, and no stream stalls that could be taken over.
    """

    teacher: dict[str, Any]
    student: dict[str, Any]
    teacher_says: str
    student_says: str
    whole_says: str = ""


FAULTS = {
    "429": Fault(
        {"status": 429, "headers": {"Retry-After": "7"}},
        {"error": "overloaded: 64 requests wait already"},
        "unavailable: HTTP 429",
        "unavailable: overloaded",
    ),
    "500": Fault(
        {"status": 500}, {"error": "internal: it is broken"}, "unavailable: HTTP 500", "unavailable: internal"
    ),
    "503": Fault({"status": 503}, {"status": grpc.StatusCode.UNAVAILABLE}, "unavailable: HTTP 503", "unavailable: "),
    "refused": Fault({}, {}, "unavailable: ", "unavailable: "),
    "reset": Fault({"resets": 1_000}, {}, "unavailable: ", "unavailable: "),
    "slow first token": Fault(
        {"delay_s": 60}, {"pieces_then": 0}, "stall: nothing for", "stall: nothing for", "timeout: "
    ),
    "stall in mid-stream": Fault(
        {"pieces_then": 2}, {"pieces_then": 2}, "stall: nothing for", "stall: nothing for", "timeout: "
    ),
    "cut in mid-stream": Fault(
        {"pieces_then": 2, "cuts": True}, {"pieces_then": 2, "cuts": True}, "unavailable: ", "unavailable: "
    ),
    "malformed chunk": Fault(
        {"raw": "{no", "events": ['{"choices": [{"delta": {"content": "o']},
        {"malformed": True},
        "unavailable: ",
        "unavailable: ",
    ),
    "wrong schema": Fault({"text": "it is so"}, {"text": "it is so"}, "json_schema: ", "json_schema: "),
    "empty answer": Fault({"text": ""}, {"text": ""}, "empty: no text", "empty: no text"),
}


@dataclass
class Rig:
    """A gateway whose `broken` backend has the fault, and whose other one answers or is away."""

    gateway: Gateway
    broken: inference.Backend
    has_second: bool
    fault: Fault

    @property
    def waits(self) -> bool:
        """Whether nothing tells that it is broken but time."""
        return bool(self.fault.whole_says)

    @property
    def misses(self) -> bool:
        """Whether the last that answers says what may not be kept."""
        return self.broken == TEACHER and not self.fault.teacher_says.startswith(("unavailable", "stall"))

    def expected(self, *, streams: bool) -> str:
        """How the refusal of the broken one's attempt begins."""
        if self.waits and (not streams or not self._is_taken_over):
            return self.fault.whole_says
        return self.fault.teacher_says if self.broken == TEACHER else self.fault.student_says

    @property
    def _is_taken_over(self) -> bool:
        return self.has_second or self.broken == STUDENT  # The teacher that is away stands behind it.


@pytest.fixture(params=FAULTS)
def fault_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[TEACHER, STUDENT], ids=["teacher", "student"])
def broken(request: pytest.FixtureRequest) -> inference.Backend:
    found: inference.Backend = request.param
    return found


@pytest.fixture(params=[True, False], ids=["with a second", "alone"])
async def rig(
    request: pytest.FixtureRequest, gateway: Gateway, broken: inference.Backend, fault_name: str
) -> AsyncIterator[Rig]:
    has_second, fault = bool(request.param), FAULTS[fault_name]
    _bound(gateway, waits=bool(fault.whole_says), has_second=has_second)
    _promote(gateway, broken, has_second)
    async with AsyncExitStack() as stack:
        faulty = fault.teacher if broken == TEACHER else fault.student
        at_teacher = OpenAILike(**{"text": GOOD, **(faulty if broken == TEACHER else {})})
        at_student = TritonLike(**{"text": GOOD, **(faulty if broken == STUDENT else {})})
        url = (await stack.enter_async_context(openai_like.serving(at_teacher))).url
        address = (await stack.enter_async_context(triton_like.serving(at_student))).address
        if at_student.relay is not None:
            at_student.relay.resets = fault_name == "reset" and broken == STUDENT
        away = {broken} if fault_name == "refused" else set()
        away |= set() if has_second else {TEACHER, STUDENT} - {broken}
        teacher = OpenAITeacher(f"http://{AWAY}/v1" if TEACHER in away else url, SecretStr(KEY), max_retries=0)
        student = TritonStudent([AWAY if STUDENT in away else address], max_calls=64)
        gateway.exchanges._backends.update({TEACHER: teacher, STUDENT: student})  # type: ignore[attr-defined]
        yield Rig(gateway, broken, has_second, fault)
        await teacher.close()
        await student.close()


def _bound(gateway: Gateway, *, waits: bool, has_second: bool) -> None:
    """Set the task's bounds. Its callers set no deadline, so that it is the gateway that ends a call."""
    for part in (gateway.task.teacher, gateway.task.student):
        part.__dict__["stall_s"] = STALL_S if waits else AMPLE_S
    gateway.task.student.__dict__["timeout_s"] = STUDENT_TIMEOUT_S if waits else AMPLE_S
    deadline_s = (2.0 if has_second else 0.6) if waits else 2 * AMPLE_S
    gateway.task.__dict__["latency_budget_ms"] = int(deadline_s * 1_000)


def _promote(gateway: Gateway, first: inference.Backend, has_second: bool) -> None:
    if first == STUDENT:
        gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    elif has_second:
        gateway.promote(events.POLICY_KIND_SHARE, share=1e-9)


async def _whole(gateway: Gateway, request: inference.Request) -> tuple[str, inference.Reply]:
    reply = await gateway.inference.Complete(request)
    return reply.message.content, reply


async def _streamed(gateway: Gateway, request: inference.Request) -> tuple[str, inference.Reply]:
    text, reply = "", inference.Reply()
    async for chunk in gateway.inference.CompleteStream(request):
        text = chunk.delta if chunk.restart else text + chunk.delta
        reply = chunk.reply
    return text, reply


@pytest.mark.parametrize("ask", [_whole, _streamed], ids=["whole", "streamed"])
async def test_a_call_ends_in_time_and_its_exchange_says_how(rig: Rig, ask: Callable[..., Any]) -> None:
    async with asyncio.timeout(3 * AMPLE_S):  # A call that hangs would hang for good.
        if rig.has_second:
            await _is_answered(rig, ask)
        else:
            await _fails(rig, ask)
    first = rig.gateway.exchange.attempts[0]
    assert first.backend == rig.broken
    assert first.refusal.startswith(rig.expected(streams=ask is _streamed))
    assert KEY not in str(rig.gateway.exchange)


@pytest.mark.parametrize(
    ("fault_name", "broken", "rig"), [("stall in mid-stream", TEACHER, True)], indirect=True, ids=["stall"]
)
async def test_a_stall_leaves_the_student_its_part_of_the_deadline_where_none_is_set_or_learned(rig: Rig) -> None:
    rig.gateway.task.teacher.__dict__["stall_s"] = None
    await _is_answered(rig, _streamed)
    assert rig.gateway.exchange.attempts[0].refusal.startswith("stall: nothing for ")
    assert rig.gateway.exchange.attempts[0].refusal.endswith(" s after 2 pieces")


async def _is_answered(rig: Rig, ask: Callable[..., Any]) -> None:
    text, reply = await ask(rig.gateway, a_request(response_schema=SCHEMA))
    assert (text, reply.message.content) == (GOOD, GOOD)
    assert reply.answered_by == ({TEACHER, STUDENT} - {rig.broken}).pop()
    exchange = rig.gateway.exchange
    assert (exchange.outcome, exchange.end, exchange.error) == (events.OUTCOME_ANSWERED, inference.END_COMPLETE, "")
    ends = [attempt.end for attempt in exchange.attempts]
    assert ends == [inference.END_REPLACED] * (len(ends) - 1) + [inference.END_COMPLETE]
    assert exchange.attempts[0].refusal in exchange.reply.why


async def _fails(rig: Rig, ask: Callable[..., Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ask(rig.gateway, a_request(response_schema=SCHEMA))
    exchange = rig.gateway.exchange
    hopeless = rig.waits and rig.broken == TEACHER
    otherwise = grpc.StatusCode.FAILED_PRECONDITION if rig.misses else grpc.StatusCode.UNAVAILABLE
    assert failed.value.code() is (grpc.StatusCode.DEADLINE_EXCEEDED if hopeless else otherwise)
    assert exchange.outcome == (events.OUTCOME_DEADLINE_EXCEEDED if hopeless else events.OUTCOME_FAILED)
    assert exchange.error == failed.value.details()
    assert exchange.attempts[0].refusal in exchange.error
    assert (exchange.end, exchange.HasField("reply")) == (inference.END_FAILED, False)
