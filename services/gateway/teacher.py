"""The teacher: any OpenAI-compatible API. The gateway's only importer of openai; its errors end here."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import openai
from openai.types.chat import ChatCompletion
from pydantic import SecretStr

from protos import events_pb2 as events
from services.gateway.backends import Ask, BackendFailed, FailureKind, OnText
from services.gateway.teacher_wire import Growing, body

MESSAGE_CHARS: Final = 300
REFUSING_STATUSES: Final = frozenset({400, 413, 422})
ADVICE: Final = {
    401: "it does not accept the gateway's key: check TEACHER_API_KEY",
    403: "the gateway's key may not do this: check TEACHER_API_KEY",
    404: "it does not know the path or the model: check TEACHER_BASE_URL and the model's name",
    429: "it takes no more requests now, or the key's money is spent",
}


class OpenAITeacher:
    """A backend; see `backends.Backend`. Failed calls are repeated by the package, within the ask's time."""

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        api_key: SecretStr,
        *,
        model: str = "",
        max_retries: int = 2,
        max_calls: int = 1_000,
        token_limit_field: str = "max_tokens",  # noqa: S107 - no secret
    ) -> None:
        """`model` takes the place of every task's own, where given. More than `max_calls` at a time wait."""
        # Servers without keys want the header nevertheless.
        self._key = api_key.get_secret_value() or "none"
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=self._key, max_retries=max_retries)
        self._create: Any = self._client.chat.completions.create  # Its 30 keywords are a dict here.
        self._model = model
        self._token_limit_field = token_limit_field
        self._places = asyncio.Semaphore(max_calls)

    resumes = False

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        model = self._model or ask.task.teacher.model
        fields = body(ask.task, ask.request, model, self._token_limit_field)
        growing = Growing(model)
        with self._translated():
            async with self._places:
                if on_text is None:
                    await self._whole(growing, fields, ask.timeout_s)
                else:
                    await self._streamed(growing, fields, ask.timeout_s, on_text)
        return growing.attempt()

    async def _whole(self, growing: Growing, fields: dict[str, Any], timeout_s: float) -> None:
        completion = await self._create(**fields, timeout=timeout_s)
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise BackendFailed(FailureKind.UNAVAILABLE, "what came is not a chat completion: check TEACHER_BASE_URL")
        growing.add(completion.choices[0].message, completion.choices[0].finish_reason)
        growing.used(completion.usage)

    async def _streamed(self, growing: Growing, fields: dict[str, Any], timeout_s: float, on_text: OnText) -> None:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        async with await self._create(**fields, **options, timeout=timeout_s) as stream:
            finished = await _grow(growing, stream, on_text)
        if not finished:
            raise BackendFailed(FailureKind.UNAVAILABLE, "its stream ended before the answer did")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except openai.APITimeoutError as error:
            raise BackendFailed(FailureKind.TIMEOUT, "no answer in time") from error
        except openai.APIStatusError as error:
            raise self._failed(error) from error
        except openai.APIConnectionError as error:
            raise BackendFailed(FailureKind.UNAVAILABLE, "it can't be reached: check TEACHER_BASE_URL") from error
        except openai.APIError as error:
            raise BackendFailed(FailureKind.UNAVAILABLE, self._told(error.message)) from error
        except ValueError as error:
            raise BackendFailed(FailureKind.UNAVAILABLE, "what came is not JSON: check TEACHER_BASE_URL") from error

    def _failed(self, error: openai.APIStatusError) -> BackendFailed:
        status = error.status_code
        kind = FailureKind.REFUSED if status in REFUSING_STATUSES else FailureKind.UNAVAILABLE
        # What an API says of a wrong key often repeats the key.
        said = ADVICE[status] if status in ADVICE else self._told(error.message)
        return BackendFailed(kind, f"HTTP {status}: {said}")

    def _told(self, message: str) -> str:
        return message.replace(self._key, "***")[:MESSAGE_CHARS]

    async def close(self) -> None:
        await self._client.close()


async def _grow(growing: Growing, stream: AsyncIterator[Any], on_text: OnText) -> bool:
    """Whether the answer came to its end."""
    finished = False
    async for chunk in stream:
        growing.used(getattr(chunk, "usage", None))
        for choice in chunk.choices[:1]:
            if text := growing.add(choice.delta, choice.finish_reason):
                on_text(text)
            finished = finished or choice.finish_reason is not None
    return finished
