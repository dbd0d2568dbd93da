"""The teacher over HTTP/1.1: which connection a call gets, what becomes of it, and how calls fail. On both loops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from services.gateway.backends import FailureKind
from services.gateway.teacher_failures import BROKE_BEFORE, BROKE_OFF, NOT_TRUSTED, UNREACHABLE, TeacherFailed
from services.gateway.teacher_http import TeacherHttp
from tests.services.gateway.examples import is_cancelled, until
from tests.services.gateway.raw_api import Line, RawApi, Talk, answering, noted, serving_raw

pytestmark = [
    pytest.mark.contract,
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    pytest.mark.usefixtures("nobody_complains"),
]
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"10\r\ndata: [DONE]\r\n\r\n\r\n"
END = b"0\r\n\r\n"
HALF = CHUNKED + b"9\r\ndata: on"


def a_teacher(url: str, key: str = "sk-1", **options: Any) -> TeacherHttp:
    return TeacherHttp(url, SecretStr(key), version="1.1", **options)


@asynccontextmanager
async def asked(talk: Talk, **options: Any) -> AsyncIterator[tuple[RawApi, TeacherHttp]]:
    """An API, and who asks it."""
    async with serving_raw(talk) as api:
        teacher = a_teacher(api.url, **options)
        try:
            yield api, teacher
        finally:
            teacher.close()


async def ask(teacher: TeacherHttp, timeout_s: float = 30.0) -> bytes:
    return await teacher.whole(b"{}", timeout_s)


async def failure(teacher: TeacherHttp, timeout_s: float = 30.0) -> TeacherFailed:
    with pytest.raises(TeacherFailed) as failed:
        await ask(teacher, timeout_s)
    return failed.value


def is_done(data: str) -> bool:
    return data == "[DONE]"


async def silent(line: Line) -> None:
    await line.asked()
    await line.hung_up()


async def test_calls_one_after_another_share_one_connection():
    async with asked(answering(YES, CHUNKED + DONE + END, YES)) as (api, teacher):
        assert await ask(teacher) == b"yes"
        await teacher.stream(b"{}", 30.0, is_done)
        assert await ask(teacher) == b"yes"
        assert (len(api.lines), len(api.requests)) == (1, 3)


async def test_calls_at_once_have_a_connection_each_and_leave_it_to_later_ones():
    answers = asyncio.Event()

    async def talk(line: Line) -> None:
        while await line.asked():
            await answers.wait()
            line.say(YES)

    async with asked(talk) as (api, teacher):
        asking = [asyncio.create_task(ask(teacher)) for _ in range(5)]
        await until(lambda: len(api.requests) == 5)
        assert len(api.lines) == 5
        answers.set()
        assert await asyncio.gather(*asking) == [b"yes"] * 5
        assert await asyncio.gather(*(ask(teacher) for _ in range(5))) == [b"yes"] * 5
        assert (len(api.lines), len(api.requests)) == (5, 10)


async def test_an_idle_connection_that_the_api_has_closed_is_not_used():
    closed = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES)
        if not closed.is_set():
            line.writer.write_eof()
            await line.hung_up()
            closed.set()
        await line.hung_up()

    async with asked(talk) as (api, teacher):
        await ask(teacher)
        await closed.wait()
        assert await ask(teacher) == b"yes"
        assert (len(api.lines), len(api.requests)) == (2, 2)


async def test_a_used_connection_that_breaks_before_a_word_is_replaced_at_once():
    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES)
        await line.asked()
        line.reset()

    async with asked(talk) as (api, teacher):
        assert [await ask(teacher) for _ in range(3)] == [b"yes"] * 3
        assert (len(api.lines), len(api.requests)) == (3, 5)


async def test_a_new_connection_that_breaks_before_a_word_is_a_failure_that_passes():
    async def talk(line: Line) -> None:
        await line.asked()
        line.reset()

    async with asked(talk) as (api, teacher):
        failed = await failure(teacher)
        assert (BROKE_BEFORE in str(failed), failed.passes, len(api.lines)) == (True, True, 1)


async def test_a_used_connection_that_breaks_late_is_a_failure_and_not_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_http1.RACE_S", -1.0)

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES)
        await line.asked()
        line.reset()

    async with asked(talk) as (api, teacher):
        await ask(teacher)
        failed = await failure(teacher)
        assert (BROKE_BEFORE in str(failed), failed.passes, len(api.requests)) == (True, True, 2)


async def test_a_used_connection_is_replaced_only_once():
    async def talk(line: Line) -> None:
        await line.asked()
        if len(api.lines) == 1:
            line.say(YES)
            await line.asked()
        line.reset()

    async with asked(talk) as (api, teacher):
        await ask(teacher)
        assert (await failure(teacher)).passes
        assert len(api.requests) == 3


async def test_bytes_on_an_idle_connection_are_nobodys_answer():
    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES)
        await told.wait()
        line.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await line.hung_up()
        gone.set()

    told, gone = asyncio.Event(), asyncio.Event()
    async with asked(talk) as (api, teacher):
        await ask(teacher)
        told.set()
        await gone.wait()
        assert await ask(teacher) == b"yes"
        assert len(api.lines) == 2


async def test_a_body_may_end_with_its_connection_which_serves_once():
    async def talk(line: Line) -> None:
        await line.asked()
        line.say(b"HTTP/1.1 200 OK\r\n\r\nall there is")

    async with asked(talk) as (api, teacher):
        assert [await ask(teacher) for _ in range(2)] == [b"all there is"] * 2
        assert len(api.lines) == 2


async def test_an_api_that_closes_connections_gets_a_new_one_for_each_call():
    async with asked(answering(YES.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as (api, teacher):
        assert [await ask(teacher) for _ in range(2)] == [b"yes"] * 2
        assert (len(api.lines), len(api.requests)) == (2, 2)


async def test_an_answer_that_breaks_off_is_none_and_not_asked_for_again():
    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES[:-1])

    async with asked(talk) as (api, teacher):
        failed = await failure(teacher)
        assert (BROKE_OFF in str(failed), failed.passes, len(api.requests)) == (True, False, 1)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 429 No\r\nRetry-After: 7\r\n\r\n",
        b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)
async def test_a_refusal_without_an_end_is_told_by_its_status(begun: bytes):
    async def talk(line: Line) -> None:
        await line.asked()
        line.say(begun)
        await line.hung_up()

    async with asked(talk) as (_, teacher):
        failed = await failure(teacher, timeout_s=0.1)
        assert ("HTTP 429" in str(failed), failed.passes, failed.retry_after_s) == (True, True, 7.0)


async def test_a_stream_whose_end_does_not_come_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_connection.END_S", 0.01)
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(CHUNKED, DONE)
        await line.hung_up()
        gone.set()

    async with asked(talk) as (_, teacher):
        await teacher.stream(b"{}", 30.0, is_done)
        await gone.wait()


async def test_a_larger_answer_than_allowed_is_hung_up():
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x" * 101)
        await line.hung_up()
        gone.set()

    async with asked(talk, max_answer_bytes=100) as (_, teacher):
        assert "TEACHER_MAX_ANSWER_BYTES" in str(await failure(teacher))
        await gone.wait()


async def test_what_the_listener_raises_is_raised_and_hangs_up():
    gone, mine = asyncio.Event(), ZeroDivisionError("mine")

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(CHUNKED, DONE)
        await line.hung_up()
        gone.set()

    def broken(_data: str) -> bool:
        raise mine

    async with asked(talk) as (_, teacher):
        with pytest.raises(ZeroDivisionError) as raised:
            await teacher.stream(b"{}", 30.0, broken)
        assert raised.value is mine
        await gone.wait()


async def begins(line: Line) -> None:
    await line.asked()
    line.say(HALF)
    await line.hung_up()


@pytest.mark.parametrize("talk", [silent, begins])
async def test_a_cancelled_call_hangs_up_and_leaves_no_error_behind(talk: Talk):
    noting, gone = noted(talk)
    async with asked(noting) as (api, teacher):
        asking = asyncio.create_task(ask(teacher))
        await until(lambda: api.requests)
        await is_cancelled(asking)
        await gone.wait()


@pytest.mark.parametrize("talk", [silent, begins])
async def test_a_call_that_runs_out_of_time_hangs_up(talk: Talk):
    noting, gone = noted(talk)
    async with asked(noting) as (_, teacher):
        assert (await failure(teacher, timeout_s=0.1)).kind is FailureKind.TIMEOUT
        await gone.wait()


async def test_a_call_cancelled_as_it_connects_hangs_up():
    noting, gone = noted(Line.hung_up)
    async with serving_raw(noting) as api:
        teacher = a_teacher(api.url.replace("http:", "https:"))
        asking = asyncio.create_task(ask(teacher))
        await until(lambda: api.lines)
        await is_cancelled(asking)
        await gone.wait()


@pytest.mark.parametrize(
    ("connect_s", "timeout_s", "kind", "passes"),
    [(5.0, 0.1, FailureKind.TIMEOUT, False), (0.1, 30.0, FailureKind.UNAVAILABLE, True)],
)
async def test_a_host_that_takes_no_connection_leaves_the_rest_of_the_time_to_another_try(
    monkeypatch: pytest.MonkeyPatch, connect_s: float, timeout_s: float, kind: FailureKind, passes: bool
):
    monkeypatch.setattr("services.gateway.teacher_dialing.CONNECT_S", connect_s)

    async with serving_raw(Line.hung_up) as api:
        failed = await failure(a_teacher(api.url.replace("http:", "https:")), timeout_s)
        assert (failed.kind, failed.passes) == (kind, passes)


async def test_a_port_where_nobody_listens_is_told():
    async with serving_raw(silent) as api:
        pass
    failed = await failure(a_teacher(api.url))
    assert (UNREACHABLE in str(failed), failed.passes) == (True, True)


async def test_a_name_that_nobody_has_is_told():
    assert UNREACHABLE in str(await failure(a_teacher("http://nobody.invalid/v1")))


async def test_a_call_without_time_is_not_sent():
    async with asked(answering(YES)) as (api, teacher):
        assert (await failure(teacher, timeout_s=-1.0)).kind is FailureKind.TIMEOUT
        assert await ask(teacher) == b"yes"
        assert len(api.requests) == 1


async def test_a_connection_idle_for_long_is_closed_and_one_in_use_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_http1.IDLE_S", 0.05)
    gone, answers = asyncio.Event(), asyncio.Event()

    async def talk(line: Line) -> None:
        is_first = len(api.lines) == 1
        await line.asked()
        line.say(YES)
        if is_first:
            await line.hung_up()
            gone.set()
        await line.asked()
        await answers.wait()
        line.say(YES)
        await line.hung_up()

    async with asked(talk) as (api, teacher):
        await ask(teacher)
        await gone.wait()
        await ask(teacher)
        asking = asyncio.create_task(ask(teacher))
        await until(lambda: len(api.requests) == 3)
        await asyncio.sleep(0.1)  # Longer than it may be idle.
        answers.set()
        assert await asking == b"yes"
        assert len(api.lines) == 2


async def test_closed_with_a_call_open_the_call_is_answered_and_its_connection_let_go():
    answers, gone = asyncio.Event(), asyncio.Event()

    async def talk(line: Line) -> None:
        await line.asked()
        await answers.wait()
        line.say(YES)
        await line.hung_up()
        gone.set()

    async with asked(talk) as (api, teacher):
        asking = asyncio.create_task(ask(teacher))
        await until(lambda: api.requests)
        teacher.close()
        answers.set()
        assert await asking == b"yes"
        await gone.wait()


async def test_closed_it_lets_go_of_idle_connections():
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.asked()
        line.say(YES)
        await line.hung_up()
        gone.set()

    async with asked(talk) as (_, teacher):
        await ask(teacher)
        teacher.close()
        await gone.wait()


async def test_over_tls_calls_share_a_connection_and_end_as_elsewhere(tmp_path: Path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        for _ in range(2):
            await line.asked()
            line.say(YES)
        await line.asked()
        line.say(HALF)
        await line.hung_up()
        gone.set()

    async with serving_raw(talk, certified=authority) as api:
        teacher = a_teacher(api.url, ca_file=tmp_path / "ca.pem")
        assert [await ask(teacher) for _ in range(2)] == [b"yes"] * 2
        asking = asyncio.create_task(ask(teacher))
        await until(lambda: len(api.requests) == 3)
        await is_cancelled(asking)
        await gone.wait()
        assert len(api.lines) == 1


@pytest.mark.parametrize(("host", "trusts"), [("localhost", False), ("127.0.0.1", True)])
async def test_a_certificate_of_a_stranger_or_for_another_name_is_not_trusted(tmp_path: Path, host: str, trusts: bool):
    authority = trustme.CA()
    (authority if trusts else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving_raw(answering(YES), certified=authority) as api:
        failed = await failure(a_teacher(api.url.replace("localhost", host), ca_file=tmp_path / "ca.pem"))
        assert (NOT_TRUSTED in str(failed), failed.passes, api.requests) == (True, False, [])


async def test_an_api_may_live_at_an_ipv6_address():
    async with serving_raw(answering(YES), host="::1") as api:
        teacher = a_teacher(api.url)
        assert await ask(teacher) == b"yes"
        assert f"\r\nhost: {api.url.split('/')[2]}\r\n".encode() in api.requests[0]
        teacher.close()


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("", "/chat/completions"),
        ("/a b/ü\r\nx: y", "/a%20b/%C3%BCx:%20y/chat/completions"),
        ("/a%2Fb", "/a%2Fb/chat/completions"),
        ("/v1?api-version=2024-10-21&q=a b", "/v1/chat/completions?api-version=2024-10-21&q=a%20b"),
        ("/v1#part", "/v1/chat/completions"),
    ],
)
async def test_the_request_is_well_formed_whatever_the_base_is(base: str, path: str):
    async with serving_raw(answering(YES)) as api:
        host = api.url.removeprefix("http://").removesuffix("/v1")
        teacher = a_teacher(f"http://{host}{base}")
        await ask(teacher)
        head, _, body = api.requests[0].partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        assert (line, body) == (f"POST {path} HTTP/1.1", b"{}")
        named = dict(header.split(": ", 1) for header in headers)
        assert (named["host"], named["authorization"], named["content-length"]) == (host, "Bearer sk-1", "2")
        teacher.close()


@pytest.mark.parametrize(
    ("key", "sent", "told"), [("", "none", "none of it, not one"), ("one", "one", "n*** of it, not ***")]
)
async def test_a_refusal_is_told_without_the_key_and_whole_where_there_is_none(key: str, sent: str, told: str):
    async with serving_raw(answering(b"HTTP/1.1 400 No\r\nContent-Length: 19\r\n\r\nnone of it, not one")) as api:
        teacher = a_teacher(api.url, key)
        assert str(await failure(teacher)) == f"refused: HTTP 400: {told}"
        assert f"\r\nauthorization: Bearer {sent}\r\n".encode() in api.requests[0]
        teacher.close()


@pytest.mark.parametrize("key", ["sk-1\n", "sk\r\nx: y", "sk-\x00", "sk-ü", "\tsk"])
async def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str):
    with pytest.raises(ValueError, match="TEACHER_API_KEY") as refused:
        a_teacher("http://127.0.0.1/v1", key)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///v1",
        "http://a..b/v1",
        "http://[::1/v1",
        "http://a:port/v1",
        "http://a:99999",
        "ftp://a",
        "http://name:word@a",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_an_address_that_is_none_is_refused_at_once(url: str, version: Any):
    with pytest.raises(ValueError, match="TEACHER_BASE_URL") as refused:
        TeacherHttp(url, SecretStr("sk-1"), version=version)
    assert "word" not in str(refused.value)


async def test_a_name_in_other_letters_is_asked_for_by_its_ascii_form():
    async with serving_raw(answering(YES)) as api:
        teacher = a_teacher(api.url.replace("127.0.0.1", "LOCAL\N{FULLWIDTH LATIN SMALL LETTER H}ost"))
        assert await ask(teacher) == b"yes"
        assert api.url.replace("127.0.0.1", "\r\nhost: localhost").split("/")[2].encode() in api.requests[0]
        teacher.close()
