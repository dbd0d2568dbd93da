"""The teacher: any OpenAI-compatible API."""

import asyncio
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from protos import events_pb2 as events
from services.gateway.backends import Ask, OnText
from services.gateway.teacher_answer import Growing
from services.gateway.teacher_failures import TeacherFailed, broke_off
from services.gateway.teacher_http import TeacherHttp
from services.gateway.teacher_usage import Doubts
from services.gateway.teacher_wire import HttpVersion, Resumes, body

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 8.0
"""Between tries, by chance up to twice as long each time, as OpenAI's own client waits; callers wait, too."""

Outcome = events.Attempt | TeacherFailed
"""Of a try."""


class OpenAITeacher:
    """A backend; see `backends.Backend`. A call that failed before its answer began is repeated, within its time."""

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        api_key: SecretStr,
        *,
        model: str = "",
        max_retries: int = 2,
        max_calls: int = 1_000,
        token_limit_field: str = "max_tokens",  # noqa: S107 - no secret
        resumes: Resumes = "no",
        http: HttpVersion = "auto",
        calls_per_connection: int = 100,
        max_answer_bytes: int = 8 * 1024**2,
        ca_file: Path | None = None,
    ) -> None:
        """`model` takes the place of every task's own, where given. More than `max_calls` at a time wait."""
        self._http = TeacherHttp(
            base_url,
            api_key,
            version=http,
            calls_per_connection=calls_per_connection,
            max_answer_bytes=max_answer_bytes,
            ca_file=ca_file,
        )
        self._model = model
        self._max_retries = max_retries
        self._token_limit_field = token_limit_field
        self._resumes: Resumes = resumes
        self._places = asyncio.Semaphore(max_calls)
        self._doubts = Doubts()

    @property
    def resumes(self) -> bool:
        return self._resumes != "no"

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        until_s = _now_s() + ask.timeout_s
        outcome = await self._outcome(ask, until_s, on_text)
        if _passes(outcome) and self._max_retries:
            outcome = await self._again(outcome, ask, until_s, on_text)
        try:
            if isinstance(outcome, TeacherFailed):
                raise outcome
            return outcome
        finally:
            del outcome  # Or the error and this frame would keep each other, and the request.

    async def _outcome(self, ask: Ask, until_s: float, on_text: OnText | None) -> Outcome:
        """Of one try. A failure comes without the frames that it passed: they hold the request."""
        try:
            return await self._try(ask, until_s, on_text)
        except TeacherFailed as failure:
            return failure.with_traceback(None)

    async def _again(self, first: Outcome, ask: Ask, until_s: float, on_text: OnText | None) -> Outcome:
        """Of the tries after one that has failed; they never wait past `until_s`."""
        tries = AsyncRetrying(
            retry=retry_if_result(_passes),
            wait=_wait_s,
            stop=stop_after_attempt(1 + self._max_retries) | stop_before_delay(max(until_s - _now_s(), 0.0)),
            retry_error_callback=lambda _state: None,
        )
        outcome = first
        async for each in tries:
            with each:
                if each.retry_state.attempt_number > 1:
                    outcome = await self._outcome(ask, until_s, on_text)
            each.retry_state.set_result(outcome)
        return outcome

    async def _try(self, ask: Ask, until_s: float, on_text: OnText | None) -> events.Attempt:
        model = self._model or ask.task.teacher.model
        sent = body(
            ask,
            model,
            token_limit_field=self._token_limit_field,
            resumes=self._resumes,
            streams=on_text is not None,
        )
        repeats = self._resumes == "repeated_prefix"
        growing = Growing(model, self._http.masked, partial=ask.partial, repeats=repeats)
        async with self._places:
            if on_text is None:
                growing.whole(await self._http.whole(sent, until_s - _now_s()))
            else:
                await self._stream(growing, sent, until_s - _now_s(), on_text)
        attempt = growing.attempt()
        self._doubts.look(ask, attempt, growing.thought)
        return attempt

    async def _stream(self, growing: Growing, sent: bytes, timeout_s: float, on_text: OnText) -> None:
        def take(data: str) -> bool:
            if text := growing.event(data):
                on_text(text)
            return growing.done

        try:
            await self._http.stream(sent, timeout_s, take)
        except TeacherFailed:
            if not growing.finished:  # An answer that came to its end is one, however its connection does.
                raise
        if not growing.finished:
            raise broke_off("its stream ended before the answer did")

    async def close(self) -> None:
        self._http.close()


_backoff_s: Final = wait_random_exponential(FIRST_WAIT_S, LONGEST_WAIT_S)


def _passes(outcome: Outcome) -> bool:
    return isinstance(outcome, TeacherFailed) and outcome.passes


def _wait_s(state: RetryCallState) -> float:
    """What the API asks for, and by chance a bit more, so that not all who were sent away come back at once."""
    failure = state.outcome.result() if state.outcome is not None else None
    asked_s = failure.retry_after_s if isinstance(failure, TeacherFailed) else None
    return (asked_s or 0.0) + _backoff_s(state)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
