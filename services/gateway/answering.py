"""One exchange's way through its plan: asks the backends in turn, within the deadline, and writes down each attempt."""

import time
from decimal import Decimal
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import ends, router
from services.gateway.asking import CANCELLED, Asking, Backends, Call
from services.gateway.backends import FailureKind
from services.gateway.hedge import Hedge
from services.gateway.listening import Clock, Told, in_words
from services.gateway.standing import NAMES, Standings
from services.tasks import Task

OF_THE_REQUEST: Final = frozenset({FailureKind.REFUSED, FailureKind.MISSED})
"""Ends that the same request most likely comes to again."""


class NoAnswer(Exception):  # noqa: N818
    """Nobody's answer can be given. The text says who was asked and what came of it; it holds no secret."""

    def __init__(
        self, outcome: events.Outcome, kind: FailureKind, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.kind = kind
        self.retry_after_s = retry_after_s
        """When it may be worth while to ask again; None where nobody knows: all have been asked as often as helps."""


def too_late(clock: Clock, why: str) -> NoAnswer:
    """There is none before the deadline."""
    said = f"no answer within the deadline of {in_words(clock.timeout_s)}"
    return NoAnswer(events.OUTCOME_DEADLINE_EXCEEDED, FailureKind.TIMEOUT, f"{said}: {why}")


class Answering:
    """Answers one exchange. Every attempt is added to `exchange.attempts`, also one that is cut short."""

    def __init__(  # noqa: PLR0913
        self,
        exchange: events.Exchange,
        task: Task,
        plan: router.Plan,
        *,
        backends: Backends,
        clock: Clock,
        told: Told,
        standings: Standings,
    ) -> None:
        self._call = Call(exchange, task, plan, backends, clock, told, standings)
        self._steps = list(plan.steps)
        self._why = plan.why
        self._lost: list[Asking] = []
        self._hedge = Hedge(self._call) if task.hedging is not None else None
        self._resumes = True
        self._failure = FailureKind.TIMEOUT
        self._is_teachers = False
        self._retries_s: list[float] = []

    async def reply(self) -> inference.Reply:
        """The first answer that may be kept. Raises NoAnswer if there is none in time."""
        attempts = self._call.exchange.attempts
        try:
            while (asking := await self._next_ended()) is not None:
                if asking.verdict.kept:
                    if self._hedge is not None:
                        self._lost += await self._hedge.drop(asking)
                    return self._keep(asking)
                self._put_aside(asking)
        finally:
            if self._hedge is not None:
                await self._hedge.cancel()
            if len(attempts) > 1:
                ends.replace(attempts[:-1])
        raise self._no_answer()

    async def _next_ended(self) -> Asking | None:
        """Who was asked next, once it has come to its end; None if nobody is left."""
        if self._hedge is not None and self._hedge.runs:
            return await self._hedge.ended()
        step = self._next_step()
        if step is None:
            return None
        asking = self._begin(step)
        if self._hedge is None:
            await asking.run()
        else:
            await self._hedge.beside(asking, self._steps, self._begin)
        return asking

    def _next_step(self) -> router.Step | None:
        while self._steps:
            step = self._steps.pop(0)
            if self._call.clock.elapsed_s() >= step.until_s:
                continue
            breaker, now_s = self._call.standing(step).breaker, time.monotonic()
            if not (why_not := breaker.why_not(now_s)):
                return step
            self._pass_by(step, why_not, breaker.retry_after_s(now_s))
        return None

    def _pass_by(self, step: router.Step, why_not: str, retry_after_s: float) -> None:
        version = self._call.plan.student_version if step.backend == inference.BACKEND_STUDENT else 0
        attempt = self._call.exchange.attempts.add(backend=step.backend, student_version=version, cost_usd="0")
        attempt.refusal, attempt.end, attempt.started_us = why_not, inference.END_FAILED, self._call.clock.elapsed_us()
        self._retries_s.append(retry_after_s)
        self._failed(step, FailureKind.UNAVAILABLE)
        self._why += f"; the {NAMES[step.backend]} is not asked: {why_not}"

    def _begin(self, step: router.Step) -> Asking:
        """An attempt. What was heard of another one is gone on from where that can be, and is void where it can't."""
        call, partial = self._call, ""
        if call.told.has_heard:
            partial = call.told.heard if self._can_go_on(step) else ""
            telemetry.TAKEOVERS.labels(call.task.name, "resumed" if partial else "restarted").inc()
            if not partial:
                call.told.forget()
        attempt = call.exchange.attempts.add(
            backend=step.backend,
            started_us=call.clock.elapsed_us(),
            cost_usd="0",
            refusal=CANCELLED,
            end=inference.END_CANCELLED,
        )
        return Asking(call, step, attempt, self._steps, partial)

    def _can_go_on(self, step: router.Step) -> bool:
        # Tool calls are no text: whoever began one, nobody has heard it.
        request = self._call.exchange.request
        return self._resumes and step.streams and not request.tools and self._call.backends[step.backend].resumes

    def _put_aside(self, asking: Asking) -> None:
        self._lost.append(asking)
        self._why += f"; the {NAMES[asking.step.backend]}'s answer is not kept: {asking.verdict.why}"
        if asking.gave_way:
            self._steps.append(asking.step)  # It has not failed: it may be asked again if the quicker one does.
            return
        self._failed(asking.step, asking.failure or FailureKind.MISSED)
        if asking.retry_after_s is not None:
            self._retries_s.append(asking.retry_after_s)
        if asking.partial and asking.failure in {None, FailureKind.REFUSED}:
            # It could not make anything good of another's beginning: once more, from the beginning.
            self._resumes = False
            self._steps.insert(0, asking.step)

    def _failed(self, step: router.Step, failure: FailureKind) -> None:
        """What the call fails of if nothing else comes. The teacher's word outweighs others': where it is away, that a
        student stood in and missed tells nothing of what the same request comes to when it is back."""
        is_teachers = step.backend == inference.BACKEND_TEACHER
        if is_teachers or not (self._is_teachers or self._failure in OF_THE_REQUEST):
            self._failure, self._is_teachers = failure, is_teachers

    def _keep(self, asking: Asking) -> inference.Reply:
        attempt, why = asking.attempt, asking.verdict.why
        for other in self._lost:
            other.recount(attempt.usage.prompt_tokens)
        if len(self._call.exchange.attempts) > 1:
            ends.replace(self._call.exchange.attempts)
        self._call.told.rest(attempt.message.content)
        return self._reply(attempt, f"{self._why}: {why}" if why else self._why)

    def _reply(self, kept: events.Attempt, why: str) -> inference.Reply:
        attempts = self._call.exchange.attempts
        reply = inference.Reply(
            exchange_id=self._call.exchange.id,
            message=kept.message,
            answered_by=kept.backend,
            model=kept.model,
            student_version=kept.student_version,
            why=why,
            finish=kept.finish,
            end=kept.end,
            usage=kept.usage,
            cost_usd=f"{sum((Decimal(attempt.cost_usd) for attempt in attempts), Decimal(0)):f}",
            timings=self._timings(),
        )
        for attempt in attempts:
            if attempt.HasField("confidence"):
                reply.confidence = attempt.confidence
        return reply

    def _timings(self) -> inference.Timings:
        return inference.Timings(
            total_us=self._call.clock.elapsed_us(),
            first_token_us=self._call.told.first_token_us,
            teacher_us=self._waited_us(inference.BACKEND_TEACHER),
            student_us=self._waited_us(inference.BACKEND_STUDENT),
        )

    def _waited_us(self, backend: inference.Backend) -> int:
        attempts = self._call.exchange.attempts
        return sum(attempt.latency_us for attempt in attempts if attempt.backend == backend)

    def _no_answer(self) -> NoAnswer:
        clock, attempts = self._call.clock, self._call.exchange.attempts
        told = "; ".join(f"{NAMES[attempt.backend]}: {attempt.refusal}" for attempt in attempts)
        if clock.is_up():
            why = f"no answer within the deadline of {in_words(clock.timeout_s)}, allow more time"
            return NoAnswer(events.OUTCOME_DEADLINE_EXCEEDED, self._failure, f"{why} ({told or 'nobody was asked'})")
        why = f"no backend could answer ({told})"
        wait_s = None if self._failure in OF_THE_REQUEST else min(self._retries_s, default=None)
        return NoAnswer(events.OUTCOME_FAILED, self._failure, why, wait_s)
