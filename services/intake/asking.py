"""Asks until there is an answer: what waits, what is tried again, and what is given up."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from protos import inference_pb2 as inference
from services import telemetry
from services.errors import BadEvent, Overloaded
from services.intake.gateway import DeadlinePassed


class Answering(Protocol):
    """The gateway, or a fake of it. Raises Overloaded, DeadlinePassed or BadEvent."""

    async def answer(self, request: inference.Request) -> inference.Reply: ...


class Asking:
    """Repeats what is Overloaded, with growing pauses, without end: its place among the open requests stays taken,
    so the intake reads no more than it can hold. Metric `paused` is 1 while any request waits like that."""

    def __init__(self, gateway: Answering, deadline_attempts: int) -> None:
        self._gateway = gateway
        self._deadline_attempts = deadline_attempts
        self._waiting = 0

    async def until_answered(self, request: inference.Request) -> None:
        """Return when the gateway has answered. Raises BadEvent if it never will.

        A deadline that passes is tried again a few times: the gateway has recorded a failed exchange each time, which
        a later answer under the same id replaces. Then it is a dead letter, to be replayed by a person.
        """
        missed = 0

        async def ask() -> None:
            nonlocal missed
            try:
                await self._gateway.answer(request)
            except DeadlinePassed as error:
                missed += 1
                if missed >= self._deadline_attempts:
                    raise BadEvent(f"{error} ({missed} times)") from error
                raise

        await self.until_taken(ask)

    async def until_taken(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try until nothing is Overloaded. Raises whatever else `attempt` raises."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Overloaded),
            wait=wait_exponential_jitter(initial=0.2, max=10, jitter=0.5),
            before_sleep=self._say_waiting,
        )
        try:
            await retrying(attempt)
        finally:
            if retrying.statistics["attempt_number"] > 1:
                self._wait(-1)

    def _say_waiting(self, state: RetryCallState) -> None:
        if state.attempt_number > 1:
            return
        self._wait(+1)
        if self._waiting == 1 and state.outcome:
            telemetry.log.warning("requests wait and are tried again", reason=str(state.outcome.exception())[:300])

    def _wait(self, change: int) -> None:
        self._waiting += change
        telemetry.PAUSED.labels("intake").set(min(self._waiting, 1))
