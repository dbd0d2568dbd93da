"""The teacher over HTTP/2: many calls share few connections, and a dropped one leaves its neighbours alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.teacher import OpenAITeacher
from tests.services.gateway.examples import an_ask, until
from tests.services.gateway.http2_like import Http2Like, serving_http2

pytestmark = pytest.mark.contract
CALLS = 300


@pytest.fixture
async def server() -> AsyncIterator[Http2Like]:
    async with serving_http2() as server:
        yield server


@pytest.fixture
async def teacher(server: Http2Like) -> AsyncIterator[OpenAITeacher]:
    teacher = OpenAITeacher(server.url, SecretStr("sk-1"), http="2", calls_per_connection=100)
    yield teacher
    await teacher.close()


def ignore(_text: str) -> None:
    """Hears a stream."""


@pytest.mark.parametrize("on_text", [None, ignore])
async def test_three_hundred_calls_at_once_share_three_connections(
    teacher: OpenAITeacher, server: Http2Like, on_text: Any
):
    asking = [asyncio.create_task(teacher.answer(an_ask(), on_text)) for _ in range(CALLS)]
    await until(lambda: len(server.asked) == CALLS)
    server.answers.set()
    assert {attempt.message.content for attempt in await asyncio.gather(*asking)} == {"yes"}
    assert (server.versions, len(set(server.asked))) == ({"2"}, 3)


async def test_calls_one_after_another_share_one_connection(teacher: OpenAITeacher, server: Http2Like):
    server.answers.set()
    for _ in range(5):
        await teacher.answer(an_ask(), None)
    assert len(set(server.asked)) == 1


async def test_a_dropped_call_ends_at_the_teacher_and_its_neighbour_goes_on(teacher: OpenAITeacher, server: Http2Like):
    dropped, kept = (asyncio.create_task(teacher.answer(an_ask(), None)) for _ in range(2))
    await until(lambda: len(server.asked) == 2)
    dropped.cancel()
    await until(lambda: server.dropped)
    server.answers.set()
    assert (await kept).message.content == "yes"
    assert (server.dropped, len(set(server.asked))) == (1, 1)


async def test_over_tls_the_teacher_is_asked_for_http_2(tmp_path: Path):
    async with serving_http2(tmp_path) as server:
        teacher = OpenAITeacher(server.url, SecretStr("sk-1"), ca_file=tmp_path / "ca.pem")
        server.answers.set()
        assert (await teacher.answer(an_ask(), None)).message.content == "yes"
        assert server.versions == {"2"}
        await teacher.close()


async def test_over_tls_http_1_1_can_be_had_by_name(tmp_path: Path):
    async with serving_http2(tmp_path) as server:
        teacher = OpenAITeacher(server.url, SecretStr("sk-1"), ca_file=tmp_path / "ca.pem", http="1.1")
        server.answers.set()
        assert (await teacher.answer(an_ask(), ignore)).message.content == "yes"
        assert server.versions == {"1.1"}
        await teacher.close()


async def test_a_certificate_of_nobody_that_is_trusted_is_told_and_not_tried_again(tmp_path: Path):
    async with serving_http2(tmp_path) as server:
        teacher = OpenAITeacher(server.url, SecretStr("sk-1"))
        with pytest.raises(BackendFailed, match="TEACHER_CA_FILE") as failed:
            await teacher.answer(an_ask(), None)
        assert failed.value.kind is FailureKind.UNAVAILABLE
        await teacher.close()


async def test_a_certificate_that_is_its_own_authority_is_told_with_the_way_out(tmp_path: Path):
    async with serving_http2(tmp_path, is_authority=True) as server:
        teacher = OpenAITeacher(server.url, SecretStr("sk-1"), ca_file=tmp_path / "ca.pem")
        with pytest.raises(BackendFailed, match=r"TEACHER_HTTP=1\.1"):
            await teacher.answer(an_ask(), None)
        await teacher.close()
