"""An exchange is written down, whatever becomes of it and of those who are told."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.alike import Alike
from services.gateway.answering import NoAnswer
from services.gateway.exchanges import Arrival, Exchanges
from services.gateway.hedge import Hedge
from services.gateway.pace import LEAST_NOTED
from services.gateway.repeats import Repeats
from services.gateway.shedding import TooLate
from services.gateway.spool import SpoolFull
from services.tasks import Cache, Hedging, Task
from tests.fakes.backends import FakeBackend
from tests.services.gateway.conftest import MemorySpool
from tests.services.gateway.examples import a_promotion, a_request, a_task, until
from tests.services.gateway.test_pace import a_pace


class Rig:
    """Exchanges with backends, ledger and promotions in memory, and without any door."""

    def __init__(
        self,
        *,
        reserve: Callable[[events.Exchange, Task], Callable[[], None]] | None = None,
        trace: Callable[[events.Exchange, str], None] | None = None,
        **fields: object,
    ) -> None:
        self.task, self.spool = a_task(**fields), MemorySpool()
        self.teacher = FakeBackend(inference.BACKEND_TEACHER, text="the teacher says so")
        self.student = FakeBackend(inference.BACKEND_STUDENT, text="the student says so")
        self.exchanges = Exchanges(
            {inference.BACKEND_TEACHER: self.teacher, inference.BACKEND_STUDENT: self.student},
            self.spool,
            {"say": a_promotion(events.POLICY_KIND_STUDENT_ONLY)}.get,
            Repeats(100_000, 60),
            teacher_needs_s=0.2,
            stops=lambda: False,
            reserve=reserve,
            trace=trace,
        )

    async def ask(self, timeout_s: float = 30.0) -> inference.Reply:
        exchange_id = str(uuid_utils.uuid7())
        return await self.exchanges.reply(Arrival(a_request(), self.task, "grpc", timeout_s, exchange_id, "a key"))


async def test_a_caller_who_leaves_as_a_hedge_begins_leaves_a_record_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.task.__dict__["hedging"] = Hedging(after_ms=20, most=1.0)
    rig.student.delay_s = 60
    call = asyncio.create_task(rig.ask())

    begin = Hedge._begin

    def leave_and_begin(*given: Any) -> None:
        """In one turn of the loop, so that the second one is begun and never has its turn."""
        call.cancel()
        begin(*given)

    monkeypatch.setattr(Hedge, "_begin", leave_and_begin)
    with pytest.raises(asyncio.CancelledError):
        await call
    (exchange,) = rig.spool.exchanges
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert (len(rig.student.asks), len(rig.teacher.asks)) == (1, 0)
    ends = [(one.end, one.refusal) for one in exchange.attempts]
    assert ends == [(inference.END_CANCELLED, "cancelled: the call ended before its answer")] * 2
    assert exchange.attempts[1].cost_usd == "0"
    assert exchange.attempts[1].started_us > exchange.attempts[0].started_us


@pytest.mark.parametrize(("usual_s", "slow"), [(0.01, 1), (None, 0)])
async def test_who_is_given_less_time_than_he_usually_takes_is_not_told_to_be_slow(
    usual_s: float | None, slow: int
) -> None:
    rig = Rig()
    rig.student.delay_s = rig.teacher.delay_s = 60
    if usual_s is not None:
        pace = a_pace(*[usual_s] * LEAST_NOTED, now_s=time.monotonic())
        rig.exchanges._standings.of(rig.task, inference.BACKEND_STUDENT, 3).answers = pace
    with pytest.raises(NoAnswer):
        await rig.ask(timeout_s=0.1)
    assert (rig.student.cancelled, rig.student.slow) == (1, slow)


async def test_a_caller_who_leaves_tells_nothing_of_whom_he_waited_for() -> None:
    rig = Rig()
    rig.student.delay_s = 60
    call = asyncio.create_task(rig.ask())
    await until(lambda: rig.student.asks)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (rig.student.cancelled, rig.student.slow) == (1, 0)


async def test_what_is_told_of_an_exchange_and_fails_keeps_it_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def fails(name: str) -> None:
        told.append(name)
        raise ValueError(name)

    monkeypatch.setattr("services.gateway.exchanges.count", lambda _exchange: fails("count"))
    rig = Rig(
        reserve=lambda _exchange, _task: lambda: fails("charge"), trace=lambda _exchange, _traceparent: fails("trace")
    )
    with structlog.testing.capture_logs() as logged:
        assert (await rig.ask()).message.content == "the student says so"
    assert told == ["count", "charge", "trace"]
    assert [exchange.outcome for exchange in rig.spool.exchanges] == [events.OUTCOME_ANSWERED]
    assert [line["event"] for line in logged] == ["an exchange is written, but not counted, charged or traced"]


async def test_an_exchange_that_can_not_be_written_is_charged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[events.Exchange] = []
    rig = Rig(reserve=lambda exchange, _task: lambda: charged.append(exchange))
    monkeypatch.setattr(rig.spool, "append_exchange", broken)
    with pytest.raises(ValueError, match="no exchange"):
        await rig.ask()
    assert [exchange.outcome for exchange in charged] == [events.OUTCOME_ANSWERED]


@pytest.mark.parametrize("fate", ["answered", "failed", "cancelled"])
async def test_what_was_kept_free_for_a_call_is_charged_once_however_it_ends(fate: str) -> None:
    told: list[str] = []

    def reserve(exchange: events.Exchange, _task: Task) -> Callable[[], None]:
        told.append("kept")
        return lambda: told.append(events.Outcome.Name(exchange.outcome))

    rig = Rig(reserve=reserve)
    if fate == "failed":
        rig.student.breaks()
        rig.teacher.breaks()
    rig.student.delay_s = 60 if fate == "cancelled" else 0
    call = asyncio.create_task(rig.ask())
    await until(lambda: rig.student.asks)
    if fate == "cancelled":
        call.cancel()
    await asyncio.wait([call])
    assert told == ["kept", f"OUTCOME_{fate.upper()}"]


async def test_for_what_is_refused_before_anybody_is_asked_nothing_is_kept_free() -> None:
    rig = Rig(reserve=lambda _exchange, _task: pytest.fail("nobody is asked"))
    rig.spool.full = "the spool is full"
    with pytest.raises(SpoolFull):
        await rig.ask()


@pytest.mark.parametrize("looks", range(6))
async def test_whoever_is_asked_is_charged_for_also_where_a_kept_answers_time_ends_just_then(looks: int) -> None:
    told: list[str] = []

    def reserve(_exchange: events.Exchange, _task: Task) -> Callable[[], None]:
        told.append("kept")
        return lambda: told.append("charged")

    rig = Rig(reserve=reserve, cache=Cache(ttl_s=60))
    times_s = itertools.repeat(0.0)
    rig.exchanges._alike = Alike(lambda: next(times_s, 60.0))
    await rig.ask()
    times_s = itertools.repeat(0.0, looks)  # At that look at the clock it is over.
    await rig.ask()
    assert told == ["kept", "charged"] * len(rig.student.asks)


def broken(_exchange: events.Exchange) -> "asyncio.Future[None]":
    raise ValueError("no exchange")


async def test_a_millisecond_is_told_as_one() -> None:
    rig = Rig()
    for backend, takes_s in ((inference.BACKEND_TEACHER, 0.5), (inference.BACKEND_STUDENT, 0.002)):
        pace = a_pace(*[takes_s] * LEAST_NOTED, now_s=time.monotonic())
        rig.exchanges._standings.of(rig.task, backend, 3).answers = pace
    told = r"1 ms are left, and 75% of the answers take more than 13(\.\d)? ms until they are written"
    with pytest.raises(TooLate, match=f"^{told}"):
        await rig.ask(timeout_s=0.001)
    assert rig.spool.exchanges == []
