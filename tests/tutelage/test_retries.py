"""How both clients, which repeat calls by themselves, end where the teacher breaks off or asks to be left alone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from protos import inference_pb2 as inference
from services.gateway.teacher import OpenAITeacher
from tests.services.gateway import openai_like
from tests.services.gateway.conftest import Gateway, gateway, settings  # noqa: F401 - fixtures
from tests.services.gateway.openai_like import KEY, OpenAILike
from tutelage import AsyncClient, Client, TutelageError
from tutelage.channel import TRIES

pytestmark = pytest.mark.contract
TIMEOUT_S = 20.0
"""Far more than it takes: who ends by it hangs, and ends DEADLINE_EXCEEDED."""
Ask = Callable[[Gateway], Coroutine[Any, Any, TutelageError]]


@pytest.fixture
async def teacher(gateway: Gateway) -> AsyncIterator[OpenAILike]:  # noqa: F811
    async with openai_like.serving() as server:
        client = OpenAITeacher(server.url, SecretStr(KEY), max_retries=0)
        gateway.exchanges._backends.update({inference.BACKEND_TEACHER: client})  # type: ignore[attr-defined]
        yield server
        await client.close()


async def _whole(gateway: Gateway) -> TutelageError:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        with pytest.raises(TutelageError) as failed:
            await client.complete(gateway.task.name, "x", timeout_s=TIMEOUT_S)
    return failed.value


async def _streamed(gateway: Gateway) -> TutelageError:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        with pytest.raises(TutelageError) as failed:
            [chunk async for chunk in client.stream(gateway.task.name, "x", timeout_s=TIMEOUT_S)]
    return failed.value


async def _whole_by_threads(gateway: Gateway) -> TutelageError:  # noqa: F811
    def ask() -> TutelageError:
        with Client(f"127.0.0.1:{gateway.port}") as client, pytest.raises(TutelageError) as failed:
            client.complete(gateway.task.name, "x", timeout_s=TIMEOUT_S)
        return failed.value

    return await asyncio.to_thread(ask)


async def _streamed_by_threads(gateway: Gateway) -> TutelageError:  # noqa: F811
    def ask() -> TutelageError:
        with Client(f"127.0.0.1:{gateway.port}") as client, pytest.raises(TutelageError) as failed:
            list(client.stream(gateway.task.name, "x", timeout_s=TIMEOUT_S))
        return failed.value

    return await asyncio.to_thread(ask)


WHOLE = pytest.mark.parametrize("ask", [_whole, _whole_by_threads])
STREAMED = pytest.mark.parametrize("ask", [_streamed, _streamed_by_threads])


@WHOLE
async def test_an_answer_that_breaks_off_is_asked_for_again_at_once(
    gateway: Gateway,  # noqa: F811
    teacher: OpenAILike,
    ask: Ask,
) -> None:
    teacher.pieces_then, teacher.cuts = 2, True
    failed = await ask(gateway)
    assert (failed.code, failed.retry_after_s, len(teacher.bodies)) == (grpc.StatusCode.UNAVAILABLE, 0.0, TRIES)
    assert str(failed).startswith("UNAVAILABLE: no backend could answer (teacher: unavailable: ")


@STREAMED
async def test_a_stream_of_which_something_was_heard_is_its_callers_to_repeat(
    gateway: Gateway,  # noqa: F811
    teacher: OpenAILike,
    ask: Ask,
) -> None:
    teacher.pieces_then, teacher.cuts = 2, True
    failed = await ask(gateway)
    assert (failed.code, failed.retry_after_s, len(teacher.bodies)) == (grpc.StatusCode.UNAVAILABLE, 0.0, 1)


@STREAMED
async def test_a_stream_that_breaks_off_before_its_first_word_is_asked_for_again_at_once(
    gateway: Gateway,  # noqa: F811
    teacher: OpenAILike,
    ask: Ask,
) -> None:
    teacher.pieces_then, teacher.cuts = 0, True
    failed = await ask(gateway)
    assert (failed.code, failed.retry_after_s, len(teacher.bodies)) == (grpc.StatusCode.UNAVAILABLE, 0.0, TRIES)


@pytest.mark.parametrize("headers", [{"Retry-After": "40"}, {}], ids=["beyond the deadline", "never"])
@pytest.mark.parametrize("ask", [_whole, _whole_by_threads, _streamed, _streamed_by_threads])
async def test_nobody_waits_for_a_repeat_that_is_beyond_his_deadline_or_in_vain(
    gateway: Gateway,  # noqa: F811
    teacher: OpenAILike,
    ask: Ask,
    headers: dict[str, str],
) -> None:
    teacher.status, teacher.headers = 429, headers
    failed = await ask(gateway)
    assert (failed.code, len(teacher.bodies)) == (grpc.StatusCode.UNAVAILABLE, 1)
    assert "(teacher: unavailable: HTTP 429" in str(failed)
