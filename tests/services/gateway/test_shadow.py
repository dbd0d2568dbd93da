"""The unseen answer: paired with the caller's, bounded, and never felt by him."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.shadow import COMPARED, Shadows
from services.topics import SHADOWS, decode
from tests.fakes.backends import FakeBackend
from tests.services.gateway.conftest import Gateway, MemorySpool
from tests.services.gateway.examples import a_promotion, a_request, a_task, an_attempt, until

TASK = a_task(answer="label", compare={"share": 1.0})
SHADOW = a_promotion(events.POLICY_KIND_SHADOW)
ALONE = a_promotion(events.POLICY_KIND_STUDENT_ONLY)


class Bench:
    """Two backends, a spool, and what compares."""

    def __init__(self) -> None:
        self.teacher = FakeBackend(inference.BACKEND_TEACHER, text="billing", model="gpt-4")
        self.student = FakeBackend(inference.BACKEND_STUDENT, text="billing ", model="tiny", confidence=-0.25)
        self.spool = MemorySpool()
        backends = {inference.BACKEND_TEACHER: self.teacher, inference.BACKEND_STUDENT: self.student}
        self.shadows = Shadows(backends, self.spool, most_at_once=2, timeout_s=5.0)

    async def pair(self, exchange: events.Exchange, promotion: events.Promotion = SHADOW) -> events.ShadowPair:
        self.shadows.begin(exchange, TASK, promotion)
        await until(lambda: self.spool.records)
        (record,) = self.spool.records
        assert record.topic == SHADOWS.name
        return decode(record)  # type: ignore[no-any-return]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.shadows.close()


def answered(by: inference.Backend = inference.BACKEND_TEACHER, text: str = "billing") -> events.Exchange:
    """An exchange that is on disk."""
    request = a_request(group_key="customer", metadata={"kind": "mail"})
    exchange = events.Exchange(id="an id", request=request, outcome=events.OUTCOME_ANSWERED)
    exchange.attempts.append(an_attempt(text, backend=by, cost_usd="0.5", latency_us=900_000))
    exchange.reply.answered_by, exchange.reply.finish, exchange.reply.cost_usd = by, inference.FINISH_STOP, "0.5"
    exchange.started_at.seconds = 1_700_000_000
    return exchange


def skipped() -> float:
    return COMPARED.labels("say", "skipped")._value.get()


async def test_the_students_answer_stands_beside_the_teachers(bench: Bench) -> None:
    pair = await bench.pair(answered())
    assert (pair.id, pair.kind, pair.group_key, pair.question) == ("an id", "mail", "customer", "what is it?")
    assert (pair.answered_by, pair.policy, pair.probability) == (
        inference.BACKEND_TEACHER,
        events.POLICY_KIND_SHADOW,
        1.0,
    )
    assert (pair.teacher.message.content, pair.teacher.shadow, pair.teacher.latency_us) == ("billing", False, 900_000)
    assert (pair.student.message.content, pair.student.shadow) == ("billing ", True)
    assert (pair.student.student_version, pair.student.confidence, pair.student.end) == (
        3,
        -0.25,
        inference.END_COMPLETE,
    )
    assert pair.agreed
    assert pair.asked_at.seconds == 1_700_000_000 < pair.compared_at.seconds


async def test_what_an_unseen_answer_cost_is_estimated_where_it_is_not_told(bench: Bench) -> None:
    bench.teacher.tells_usage = False
    usage = (await bench.pair(answered(inference.BACKEND_STUDENT), ALONE)).teacher.usage
    assert usage == inference.Usage(prompt_tokens=7, completion_tokens=len("billing") // 4)


async def test_where_the_student_serves_the_teacher_is_asked_unseen(bench: Bench) -> None:
    pair = await bench.pair(answered(inference.BACKEND_STUDENT, "praise"), ALONE)
    assert (pair.teacher.shadow, pair.student.shadow, pair.HasField("agreed"), pair.agreed) == (
        True,
        False,
        True,
        False,
    )
    assert pair.teacher.message.content == "billing"


async def test_what_the_validators_say_of_an_unseen_answer_is_noted(bench: Bench) -> None:
    bench.student.text = "nonsense"
    assert (await bench.pair(answered())).student.refusal.startswith("regex: ")


@pytest.mark.parametrize("kind", [FailureKind.UNAVAILABLE, FailureKind.REFUSED])
async def test_a_failure_of_the_unseen_one_is_a_pair_too(bench: Bench, kind: FailureKind) -> None:
    bench.student.failure = BackendFailed(kind, "it is away")
    pair = await bench.pair(answered())
    assert (pair.student.refusal, pair.student.end) == (f"{kind}: it is away", inference.END_FAILED)
    assert not pair.HasField("agreed")


async def test_what_both_have_said_already_is_not_asked_again(bench: Bench) -> None:
    exchange = answered()
    refusal = "confidence: -0.90 below -0.50"
    unsure = an_attempt("praise", refusal=refusal, confidence=-0.9, student_version=3)
    exchange.attempts.insert(0, unsure)
    pair = await bench.pair(exchange, a_promotion(events.POLICY_KIND_CASCADE, min_confidence=-0.5))
    assert bench.student.asks == bench.teacher.asks == []
    assert (pair.student.message.content, pair.student.refusal, pair.student.shadow) == ("praise", "", False)
    assert not pair.agreed


@pytest.mark.parametrize("why", ["cancelled: the call ended before its answer", "replaced: the teacher was quicker"])
async def test_one_that_was_called_off_tells_nothing_and_is_asked(bench: Bench, why: str) -> None:
    exchange = answered()
    exchange.attempts.add(backend=inference.BACKEND_STUDENT, refusal=why)
    assert (await bench.pair(exchange, ALONE)).student.message.content == "billing "


async def test_one_that_gave_way_to_the_quicker_is_asked_unless_it_had_answered(bench: Bench) -> None:
    exchange, quicker = answered(), "replaced: the teacher was quicker"
    exchange.attempts.add(backend=inference.BACKEND_STUDENT, refusal=quicker, end=inference.END_REPLACED)
    assert (await bench.pair(exchange, ALONE)).student.message.content == "billing "
    bench.spool.records.clear()
    exchange.attempts[-1].CopyFrom(an_attempt("praise", refusal=quicker, end=inference.END_REPLACED))
    pair = await bench.pair(exchange, ALONE)
    assert (pair.student.message.content, pair.student.refusal) == ("praise", "")


async def test_the_beginning_of_an_answer_that_broke_off_is_no_answer(bench: Bench) -> None:
    exchange, stall = answered(), "stall: nothing for 1.00 s after 2 pieces"
    exchange.attempts.insert(0, an_attempt("bill", refusal=stall, finish=0, end=inference.END_REPLACED))
    pair = await bench.pair(exchange, ALONE)
    assert (pair.student.message.content, pair.student.refusal) == ("", stall)
    assert bench.student.asks == []


async def test_an_answer_that_both_have_written_is_not_compared(bench: Bench) -> None:
    exchange = answered()
    exchange.attempts[-1].resumed_characters = 3
    bench.shadows.begin(exchange, TASK, ALONE)
    await bench.shadows.close()
    assert bench.spool.records == []


async def test_free_texts_are_neither_alike_nor_not(bench: Bench) -> None:
    bench.shadows.begin(answered(), a_task(), SHADOW)
    await until(lambda: bench.spool.records)
    assert not decode(bench.spool.records[0]).HasField("agreed")


async def test_its_cost_is_counted_but_not_charged_to_the_caller(bench: Bench) -> None:
    spent = telemetry.COST.labels("say", "teacher")._value
    before, exchange = spent.get(), answered(inference.BACKEND_STUDENT)
    pair = await bench.pair(exchange, ALONE)
    assert float(pair.teacher.cost_usd) == pytest.approx(spent.get() - before)
    assert float(pair.teacher.cost_usd) > 0
    assert exchange.reply.cost_usd == "0.5"
    assert len(exchange.attempts) == 1


async def test_more_than_may_be_open_are_skipped_and_counted(bench: Bench) -> None:
    bench.student.delay_s, before = 60.0, skipped()
    for _ in range(5):
        bench.shadows.begin(answered(), TASK, SHADOW)
    assert skipped() == before + 3
    await until(lambda: len(bench.student.asks) == 2)


async def test_closing_gives_up_what_is_open(bench: Bench) -> None:
    bench.student.delay_s, before = 60.0, skipped()
    bench.shadows.begin(answered(), TASK, SHADOW)
    await until(lambda: bench.student.asks)
    await bench.shadows.close()
    assert (bench.student.cancelled, bench.spool.records, skipped()) == (1, [], before + 1)


async def test_a_full_spool_is_not_filled_further_and_nobody_is_asked(bench: Bench) -> None:
    bench.spool.full, before = "the spool is full", skipped()
    bench.shadows.begin(answered(), TASK, SHADOW)
    await until(lambda: skipped() == before + 1)
    assert bench.student.asks == []


async def test_an_unseen_answer_that_is_too_slow_is_a_refusal(bench: Bench) -> None:
    bench.student.delay_s = 60.0
    bench.shadows.begin(answered(), a_task(student={**TASK.student.model_dump(), "timeout_s": 0.01}), SHADOW)
    await until(lambda: bench.spool.records)
    assert decode(bench.spool.records[0]).student.refusal == "timeout: no answer within 0.01 s"
    assert bench.student.slow == 1


@pytest.mark.parametrize("fields", [{"outcome": events.OUTCOME_FAILED}, {"reply": {"finish": inference.FINISH_LENGTH}}])
async def test_calls_without_a_whole_answer_are_not_compared(bench: Bench, fields: dict[str, object]) -> None:
    exchange = answered()
    exchange.MergeFrom(events.Exchange(**fields))  # type: ignore[arg-type]
    bench.shadows.begin(exchange, TASK, SHADOW)
    await asyncio.sleep(0)
    assert (bench.student.asks, bench.spool.records) == ([], [])


@pytest.mark.contract
async def test_a_caller_has_his_reply_while_the_student_is_still_at_it_unseen(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_SHADOW)
    gateway.student.delay_s = 60.0
    reply = await gateway.inference.Complete(a_request())
    await until(lambda: gateway.student.asks)
    assert (reply.answered_by, reply.why) == (inference.BACKEND_TEACHER, "shadow: the teacher answers")
    assert (reply.timings.student_us, gateway.student.cancelled, gateway.spool.records) == (0, 0, [])
    assert [attempt.backend for attempt in gateway.exchange.attempts] == [inference.BACKEND_TEACHER]


@pytest.mark.contract
async def test_an_unseen_failure_leaves_the_reply_as_it_is(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_SHADOW)
    gateway.student.failure = BackendFailed(FailureKind.UNAVAILABLE, "it is away")
    reply = await gateway.inference.Complete(a_request())
    await until(lambda: gateway.spool.records)
    assert reply.message.content == "the teacher says so"
    assert decode(gateway.spool.records[0]).student.refusal == "unavailable: it is away"


async def test_a_fault_of_our_own_is_logged_and_stays_here(bench: Bench) -> None:
    bench.student.failure = RuntimeError("a bug")  # type: ignore[assignment]
    with structlog.testing.capture_logs() as logs:
        bench.shadows.begin(answered(), TASK, SHADOW)
        await until(lambda: logs)
    assert [str(log["exc_info"]) for log in logs] == ["a bug"]
    assert bench.spool.records == []
