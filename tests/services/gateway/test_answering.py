"""Two backends asked for one exchange, one turn of the loop at a time."""

import asyncio
from dataclasses import dataclass, field

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import router
from services.gateway.answering import Answering, NoAnswer
from services.gateway.backends import Ask, FailureKind, OnText
from services.gateway.listening import Clock, Told
from services.gateway.standing import Standings
from services.tasks import Hedging, Task
from tests.fakes.backends import FakeBackend
from tests.services.gateway.examples import a_request, a_task, an_attempt, until
from tests.services.gateway.test_alike import Heard

TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT
STUDENT_ONLY = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)


@dataclass
class Held:
    """A backend that says `pieces` when it is let, and its whole answer once it may `end`; or it raises `fault`."""

    whole: str
    pieces: tuple[str, ...] = ()
    fault: Exception | None = None
    resumes: bool = False
    asked: int = 0
    speak: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        self.asked += 1
        await self.speak.wait()
        if self.fault is not None:
            raise self.fault
        if on_text is not None:
            for piece in self.pieces:
                on_text(piece)
        if not self.end.is_set():
            await self.end.wait()
        return an_attempt(self.whole, backend=0)

    async def close(self) -> None:
        """There is nothing to let go of."""


class Call:
    """A streamed call that is hedged at once; the student is asked first."""

    def __init__(self, student: Held, teacher: Held, *, student_streams: bool = True) -> None:
        task: Task = a_task()
        task.__dict__["hedging"] = Hedging(after_ms=1, most=1.0)
        steps = router.Step(STUDENT, 30.0, student_streams), router.Step(TEACHER, 30.0, True)
        self.student, self.teacher, self.heard, clock = student, teacher, Heard(), Clock(30.0)
        self.exchange = events.Exchange(id="an id", request=a_request())
        self._answering = Answering(
            self.exchange,
            task,
            router.Plan(steps, "student only", STUDENT_ONLY, 3),
            backends={STUDENT: student, TEACHER: teacher},
            clock=clock,
            told=Told(clock, self.heard),
            standings=Standings({}.get),
        )

    async def hedged(self) -> "asyncio.Task[inference.Reply]":
        """The call, once both have been asked."""
        replying = asyncio.create_task(self._answering.reply())
        await until(lambda: self.student.asked and self.teacher.asked)
        return replying


@pytest.mark.parametrize("student_streams", [True, False])
async def test_an_answer_that_comes_as_the_other_begins_to_speak_is_not_mixed_with_it(student_streams: bool) -> None:
    student, teacher = Held("the student says so", ("the student",)), Held("the teacher says so", ("the teacher",))
    call = Call(student, teacher, student_streams=student_streams)
    first, then = (student, teacher) if student_streams else (teacher, student)
    replying = await call.hedged()
    then.end.set()
    first.speak.set()
    then.speak.set()  # In the same turn of the loop: by the time it is told to give way it has its answer.
    await until(lambda: call.heard.pieces)
    first.end.set()
    reply = await replying
    assert (reply.message.content, call.heard.pieces) == (first.whole, [first.pieces[0]])
    ends = [attempt.end for attempt in call.exchange.attempts]
    assert sorted(ends) == [inference.END_COMPLETE, inference.END_REPLACED]


async def test_whatever_befalls_a_hedge_the_first_ones_answer_is_given() -> None:
    student, teacher = Held("the student says so", ("the student",)), Held("", fault=ValueError("out of range"))
    call = Call(student, teacher)
    replying = await call.hedged()
    teacher.speak.set()
    await until(lambda: call.exchange.attempts[1].refusal.startswith("internal: ValueError"))
    student.speak.set()
    student.end.set()
    assert (await replying).message.content == "the student says so"
    assert [attempt.end for attempt in call.exchange.attempts] == [inference.END_COMPLETE, inference.END_REPLACED]


@pytest.mark.parametrize("order", [(TEACHER, STUDENT), (STUDENT, TEACHER)])
@pytest.mark.parametrize("kind", [FailureKind.UNAVAILABLE, FailureKind.TIMEOUT])
@pytest.mark.parametrize("refuses", [True, False])
async def test_a_teacher_who_is_away_is_what_a_call_fails_of_though_a_student_can_not_answer_it(
    order: tuple[inference.Backend, ...], kind: FailureKind, refuses: bool
) -> None:
    teacher, student = FakeBackend(TEACHER), FakeBackend(STUDENT, text="nonsense")
    teacher.breaks(kind)
    if refuses:
        student.breaks(FailureKind.REFUSED)
    plan = router.Plan(tuple(router.Step(backend, 30.0, False) for backend in order), "", STUDENT_ONLY, 3)
    clock, exchange = Clock(30.0), events.Exchange(id="an id", request=a_request())
    backends, told, standings = {TEACHER: teacher, STUDENT: student}, Told(clock, None), Standings({}.get)
    answering = Answering(exchange, a_task(), plan, backends=backends, clock=clock, told=told, standings=standings)
    with pytest.raises(NoAnswer) as failed:
        await answering.reply()
    assert (failed.value.kind, len(exchange.attempts)) == (kind, 2)
