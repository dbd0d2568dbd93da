"""One exchange's way through its plan: asks the backends in turn, within the deadline, and writes down each attempt."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import ends, router
from services.gateway.backends import Ask, Backend, BackendFailed, FailureKind
from services.gateway.listening import Clock, Told
from services.tasks import Task

Backends = Mapping[inference.Backend, Backend]
NAMES: Final = {inference.BACKEND_TEACHER: "teacher", inference.BACKEND_STUDENT: "student"}


class NoAnswer(Exception):  # noqa: N818
    """Nobody's answer can be given. The text says who was asked and what came of it; it holds no secret."""

    def __init__(self, outcome: events.Outcome, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.kind = kind


class Answering:
    """Answers one exchange. Every attempt is added to `exchange.attempts`, also one that is cut short."""

    def __init__(  # noqa: PLR0913
        self, exchange: events.Exchange, task: Task, plan: router.Plan, *, backends: Backends, clock: Clock, told: Told
    ) -> None:
        self._exchange = exchange
        self._task = task
        self._plan = plan
        self._backends = backends
        self._clock = clock
        self._told = told
        self._failure = FailureKind.TIMEOUT

    async def reply(self) -> inference.Reply:
        """The first answer that may be kept. Raises NoAnswer if there is none in time."""
        why = self._plan.why
        for step in self._plan.steps:
            if self._clock.elapsed_s() >= step.until_s:
                continue
            attempt = self._exchange.attempts.add(backend=step.backend)
            await self._ask(step, attempt)
            verdict = self._judge(attempt)
            if verdict.kept:
                attempt.end = ends.of_answer(attempt.finish)
                self._told.rest(attempt.message.content)
                return self._reply(attempt, f"{why}: {verdict.why}" if verdict.why else why)
            attempt.refusal = verdict.why
            attempt.end = attempt.end or inference.END_REPLACED
            why += f"; the {NAMES[step.backend]}'s answer is not kept: {verdict.why}"
        raise self._no_answer()

    async def _ask(self, step: router.Step, attempt: events.Attempt) -> None:
        """Fill `attempt`; its `refusal` says why there is no answer."""
        started_s = self._clock.elapsed_s()
        budget_s = step.until_s - started_s
        attempt.student_version = self._plan.student_version if step.backend == inference.BACKEND_STUDENT else 0
        ends.replace(self._exchange.attempts[:-1])
        attempt.refusal, attempt.end = "internal: the gateway is at fault", inference.END_FAILED  # Stays if it is.
        try:
            async with asyncio.timeout(budget_s):
                await self._fill(step, attempt, budget_s)
        except asyncio.CancelledError:
            attempt.refusal = "cancelled: the call ended before its answer"
            attempt.end = inference.END_CANCELLED
            raise
        except TimeoutError:
            self._failure, attempt.refusal = FailureKind.TIMEOUT, f"timeout: no answer within {budget_s:.2f} s"
        except BackendFailed as failure:
            self._failure, attempt.refusal = failure.kind, str(failure)
        finally:
            attempt.latency_us = self._clock.elapsed_us() - round(started_s * 1e6)
            attempt.cost_usd = f"{self._cost(attempt):f}"

    async def _fill(self, step: router.Step, attempt: events.Attempt, budget_s: float) -> None:
        self._told.next_backend()
        on_text = self._told.text if step.streams and self._told.listens else None
        ask = Ask(self._task, self._exchange.request, self._exchange.id, self._plan.student_version, budget_s)
        attempt.MergeFrom(await self._backends[step.backend].answer(ask, on_text))
        attempt.refusal, attempt.end = "", inference.END_UNSPECIFIED

    def _judge(self, attempt: events.Attempt) -> router.Verdict:
        if attempt.refusal:
            return router.Verdict(False, attempt.refusal)
        self._failure = FailureKind.UNAVAILABLE  # What it is if this answer is not kept.
        return router.keep(self._task, self._plan.policy, self._exchange.request, attempt)

    def _cost(self, attempt: events.Attempt) -> Decimal:
        asked = self._task.teacher if attempt.backend == inference.BACKEND_TEACHER else self._task.student
        return asked.prices.cost(attempt.usage)

    def _reply(self, kept: events.Attempt, why: str) -> inference.Reply:
        attempts = self._exchange.attempts
        reply = inference.Reply(
            exchange_id=self._exchange.id,
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
            total_us=self._clock.elapsed_us(),
            first_token_us=self._told.first_token_us,
            teacher_us=self._waited_us(inference.BACKEND_TEACHER),
            student_us=self._waited_us(inference.BACKEND_STUDENT),
        )

    def _waited_us(self, backend: inference.Backend) -> int:
        return sum(attempt.latency_us for attempt in self._exchange.attempts if attempt.backend == backend)

    def _no_answer(self) -> NoAnswer:
        told = "; ".join(f"{NAMES[attempt.backend]}: {attempt.refusal}" for attempt in self._exchange.attempts)
        if self._clock.is_up():
            why = f"no answer within the deadline of {self._clock.timeout_s:.2f} s, allow more time"
            return NoAnswer(events.OUTCOME_DEADLINE_EXCEEDED, self._failure, f"{why} ({told or 'nobody was asked'})")
        return NoAnswer(events.OUTCOME_FAILED, self._failure, f"no backend could answer ({told})")
