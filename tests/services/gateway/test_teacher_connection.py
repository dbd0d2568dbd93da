"""A connection to the teacher's API without a network: what it makes of any bytes, cut anywhere, and of its end."""

import asyncio
import gc
import weakref
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.backends import FailureKind
from services.gateway.teacher_connection import HEAD_MOST, Connection, WentAway
from services.gateway.teacher_failures import BROKE_OFF, TeacherFailed
from services.gateway.teacher_heard import MAX_REFUSAL_BYTES, Heard, OnEvent
from tests.services.gateway.examples import is_cancelled, until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
YES = OK + b"Content-Length: 3\r\n\r\nyes"
NO = OK + b"Content-Length: 2\r\n\r\nno"
YES_IN_CHUNKS = CHUNKED + b'1;why="so"\r\ny\r\n2\r\nes\r\n0\r\nx-cost: 1\r\n\r\n'
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n"
DONE = b"10\r\ndata: [DONE]\r\n\r\n\r\n"
ENDLESS = OK + b"Content-Type: text/plain\r\n\r\nyes"
"""Its end is the connection's."""


class Wire:
    """A transport, and a connection on it: what was sent, who may have it next, how it ended."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.kept: list[Connection] = []
        self.forgotten: list[Connection] = []
        self.end = ""
        self.unsent = 0
        self.connection = Connection(self.kept.append, self.forgotten.append)
        self.connection.connection_made(self)

    def writelines(self, data: tuple[bytes, ...]) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _name: str) -> None:
        """There is no socket."""

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"

    async def ask(self, heard: Heard, timeout_s: float = 30.0) -> "asyncio.Task[None]":
        """A call whose request is sent."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        asking = asyncio.create_task(self.connection.ask((b"head", b"body"), until_s, heard))
        await asyncio.sleep(0)
        assert self.sent
        return asking

    def hear(self, *pieces: bytes) -> None:
        """Until it has ended, as a transport does."""
        for piece in pieces:
            if piece and not self.end:
                self.connection.data_received(piece)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def is_done(data: str) -> bool:
    return data == "[DONE]"


async def failure(asking: "asyncio.Task[None]") -> TeacherFailed:
    with pytest.raises(TeacherFailed) as failed:
        await asking
    return failed.value


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


PLACES = st.lists(st.integers(0, 200), max_size=6)


@given(before=st.sampled_from([b"", HINTS]), answer=st.sampled_from([YES, YES_IN_CHUNKS]), places=PLACES)
async def test_an_answer_cut_anywhere_is_the_same_and_its_connection_serves_on(
    before: bytes, answer: bytes, places: list[int]
):
    wire = Wire()
    for _ in range(2):
        heard = Heard(100)
        asking = await wire.ask(heard)
        wire.hear(*cut(before + answer, places))
        await asking
        assert (heard.status, heard.body, wire.end) == (200, b"yes", "")
    assert wire.kept == [wire.connection] * 2


@given(
    answer=st.sampled_from([YES, YES_IN_CHUNKS, YES.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]),
    behind=st.sampled_from([NO, HINTS, b"more", b"\x00", b"\r\n\r\nHTTP/1.1"]),
    places=PLACES,
)
async def test_what_comes_behind_an_answer_takes_nothing_from_it_and_ends_the_connection(
    answer: bytes, behind: bytes, places: list[int]
):
    wire, heard = Wire(), Heard(100)
    asking = await wire.ask(heard)
    wire.hear(*cut(answer + behind, places))
    await asking
    assert heard.body == b"yes"
    assert wire.end


async def test_bytes_that_nobody_asked_for_end_the_connection(wire: Wire):
    wire.hear(b"220 mail.example ESMTP\r\n")
    assert wire.end == "aborted"


async def test_every_response_is_told_by_its_own_headers(wire: Wire):
    heard, next_heard = Heard(100), Heard(100)
    for each, sent in [(heard, b"7"), (next_heard, b"9")]:
        asking = await wire.ask(each)
        hint = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"
        wire.hear(hint + b"HTTP/1.1 429 No\r\nRETRY-AFTER: " + sent + b"\r\nContent-Length: 0\r\n\r\n")
        await asking
    assert [each.refusal(str).retry_after_s for each in (heard, next_heard)] == [7.0, 9.0]


@pytest.mark.parametrize(
    ("begun", "endless"),
    [
        (OK, b"x-more: of it\r\n"),
        (OK + b"x-long: ", b"of it"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (YES_IN_CHUNKS.partition(b"x-cost")[0], b"x-more: of it\r\n"),
        (YES_IN_CHUNKS.partition(b'"so')[0], b"more"),
    ],
)
async def test_headers_and_the_like_without_end_are_refused(wire: Wire, begun: bytes, endless: bytes):
    asking = await wire.ask(Heard(100))
    heard = 0
    wire.hear(begun)
    while not wire.end and heard < 2 * HEAD_MOST:
        wire.hear(endless * 100)
        heard += len(endless) * 100
    assert HEAD_MOST - len(begun) <= heard <= HEAD_MOST + len(endless) * 100
    assert f"larger than {HEAD_MOST} bytes" in str(await failure(asking))


async def test_an_answer_in_a_hundred_thousand_chunks_is_not_taken_for_headers(wire: Wire):
    heard = Heard(1_000_000)
    asking = await wire.ask(heard)
    wire.hear(CHUNKED, *[b"1\r\nx\r\n" * 1_000] * 100, b"0\r\n\r\n")
    await asking
    assert (len(heard.body), wire.end) == (100_000, "")


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 two\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
        OK + b"Content-Length: -3\r\n\r\n",
        CHUNKED + b"no\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told(wire: Wire, said: bytes):
    asking = await wire.ask(Heard(100))
    wire.hear(said)
    failed = await failure(asking)
    assert ("not HTTP: check TEACHER_BASE_URL" in str(failed), failed.passes) == (True, False)
    assert (wire.end, wire.kept) == ("aborted", [])


async def test_an_offer_of_another_protocol_is_passed_over(wire: Wire):
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(YES.replace(b"\r\n\r\n", b"\r\nUpgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\n\r\n"))
    await asking
    assert (heard.body, wire.kept, wire.end) == (b"yes", [wire.connection], "")


@pytest.mark.parametrize(
    "answer",
    [
        YES.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        YES.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_a_connection_that_serves_once_is_closed(wire: Wire, answer: bytes):
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(answer)
    await asking
    assert (heard.body, wire.kept, wire.end) == (b"yes", [], "closed")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", OK, HINTS])
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_connection_that_ends_before_a_status_went_away(wire: Wire, said: bytes, error: Exception | None):
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(said)
    wire.connection.connection_lost(error)
    with pytest.raises(WentAway):
        await asking
    assert (heard.status, wire.forgotten, wire.kept) == (0, [wire.connection], [])


async def test_a_body_that_tells_no_end_ends_with_its_connection(wire: Wire):
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(ENDLESS)
    assert not asking.done()
    wire.connection.connection_lost(None)
    await asking
    assert (heard.body, wire.kept) == (b"yes", [])


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (YES[:-1], None),
        (YES_IN_CHUNKS[:-2], None),
        (CHUNKED, None),
        (ENDLESS, ConnectionResetError()),
        (YES[:-1], ConnectionResetError()),
    ],
)
async def test_an_answer_that_breaks_off_is_none(wire: Wire, said: bytes, error: Exception | None):
    asking = await wire.ask(Heard(100))
    wire.hear(said)
    wire.connection.connection_lost(error)
    failed = await failure(asking)
    assert (BROKE_OFF in str(failed), failed.passes, failed.retry_after_s) == (True, False, 0.0)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_that_has_no_body_is_over_with_its_head(wire: Wire, status: int):
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(b"HTTP/1.1 %d Nothing\r\n\r\n" % status)
    await asking
    assert (heard.status, wire.kept) == (status, [wire.connection])


@pytest.mark.parametrize(
    "answer", [OK + b"Content-Length: 101\r\n\r\n" + b"x" * 101, CHUNKED + b"64\r\n%b\r\n1\r\nx\r\n" % (b"x" * 100)]
)
@pytest.mark.parametrize("on_event", [None, is_done])
async def test_a_larger_answer_than_allowed_ends_the_connection(wire: Wire, answer: bytes, on_event: OnEvent | None):
    asking = await wire.ask(Heard(100, on_event))
    wire.hear(answer)
    assert "TEACHER_MAX_ANSWER_BYTES, 100" in str(await failure(asking))
    assert wire.end == "aborted"


@pytest.mark.parametrize("error", [ZeroDivisionError("by me"), TeacherFailed(FailureKind.REFUSED, "by me")])
async def test_what_the_listener_raises_is_what_the_call_raises(wire: Wire, error: Exception):
    def broken(_data: str) -> bool:
        raise error

    asking = await wire.ask(Heard(100, broken))
    wire.hear(CHUNKED + DONE + b"0\r\n\r\n")
    with pytest.raises(type(error)) as raised:
        await asking
    assert raised.value is error
    assert (wire.end, wire.kept) == ("aborted", [])


async def test_of_an_endless_refusal_the_beginning_is_enough(wire: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_connection.END_S", 0.0)
    heard = Heard(100)
    asking = await wire.ask(heard)
    wire.hear(b"HTTP/1.1 500 No\r\n\r\n", *[b"x" * 1_000] * 100)
    await asking
    assert len(heard.body) == MAX_REFUSAL_BYTES
    await until(lambda: wire.end == "aborted")


@pytest.mark.parametrize(
    "pieces", [[DONE + b"0\r\n\r\n"], [DONE, b"0\r\n\r\n"], [DONE, b"6\r\n: more\r\n", b"0\r\n\r\n"]]
)
async def test_a_stream_that_ends_after_its_last_event_leaves_its_connection_to_the_next(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
):
    monkeypatch.setattr("services.gateway.teacher_connection.END_S", 0.01)
    asking = await wire.ask(Heard(100, is_done))
    wire.hear(CHUNKED, pieces[0])
    await asking
    wire.hear(*pieces[1:])
    assert wire.kept == [wire.connection]
    heard = Heard(100)
    asking = await wire.ask(heard)
    await asyncio.sleep(0.02)  # For the first one's time to pass, which is none of the second's.
    wire.hear(YES)
    await asking
    assert (heard.body, wire.end) == (b"yes", "")


async def test_a_stream_that_does_not_end_after_its_last_event_is_hung_up(wire: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_connection.END_S", 0.01)
    asking = await wire.ask(Heard(100, is_done))
    wire.hear(CHUNKED, DONE)
    await asking
    assert (wire.end, wire.kept) == ("", [])
    await until(lambda: wire.end == "aborted")


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_stream_whose_connection_breaks_after_its_last_event_is_whole(wire: Wire, error: Exception | None):
    asking = await wire.ask(Heard(100, is_done))
    wire.hear(CHUNKED, DONE)
    wire.connection.connection_lost(error)
    await asking
    assert wire.kept == []


@pytest.mark.usefixtures("nobody_complains")
@pytest.mark.parametrize("said", [b"", OK, CHUNKED, CHUNKED + b"1\r\ny"])
async def test_a_call_that_is_cancelled_hangs_up_whatever_comes_then(wire: Wire, said: bytes):
    asking = await wire.ask(Heard(100))
    wire.hear(said)
    await is_cancelled(asking)
    assert wire.end == "aborted"
    wire.connection.connection_lost(ConnectionResetError())


@pytest.mark.usefixtures("nobody_complains")
@pytest.mark.parametrize("said", [b"not HTTP", CHUNKED + b"no\r\n", OK + b"Content-Length: 101\r\n\r\n" + b"x" * 101])
async def test_a_call_that_fails_in_the_turn_it_is_cancelled_leaves_no_error_behind(wire: Wire, said: bytes):
    asking = await wire.ask(Heard(100))
    wire.hear(said)
    await is_cancelled(asking)
    assert wire.end == "aborted"


async def test_a_call_cancelled_in_the_turn_its_answer_came_harms_no_other_on_its_connection(wire: Wire):
    dropped = await wire.ask(Heard(100))
    heard = Heard(100)
    wire.hear(YES)
    asking = asyncio.create_task(
        wire.connection.ask((b"head", b"body"), asyncio.get_running_loop().time() + 30.0, heard)
    )
    dropped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dropped
    assert len(wire.sent) == 4
    wire.hear(NO)
    await asking
    assert (heard.body, wire.end) == (b"no", "")


@pytest.mark.parametrize("said", [b"", OK, CHUNKED + b"1\r\ny"])
async def test_a_call_whose_time_is_up_hangs_up(wire: Wire, said: bytes):
    asking = await wire.ask(Heard(100), timeout_s=0.01)
    wire.hear(said)
    assert (await failure(asking)).kind is FailureKind.TIMEOUT
    assert wire.end == "aborted"


async def test_the_time_of_an_answered_call_is_not_the_next_ones(wire: Wire):
    asking = await wire.ask(Heard(100), timeout_s=0.01)
    wire.hear(YES)
    await asking
    heard = Heard(100)
    asking = await wire.ask(heard)
    await asyncio.sleep(0.02)  # For the first one's time to pass.
    wire.hear(NO)
    await asking
    assert (heard.body, wire.end) == (b"no", "")


async def test_a_call_without_time_fails_at_once(wire: Wire):
    assert (await failure(await wire.ask(Heard(100), timeout_s=-1.0))).kind is FailureKind.TIMEOUT


async def test_a_connection_whose_request_was_not_heard_out_serves_no_other(wire: Wire):
    asking = await wire.ask(Heard(100))
    wire.unsent = 1
    wire.hear(YES)
    await asking
    assert (wire.kept, wire.end) == ([], "aborted")


@pytest.mark.parametrize(("said", "timeout_s"), [(b"", 30.0), (YES[:-1], 30.0), (ENDLESS, 30.0), (b"", 0.0)])
async def test_what_was_asked_and_heard_is_let_go_without_the_garbage_collector(said: bytes, timeout_s: float):
    gc.disable()
    try:
        wire, heard = Wire(), Heard(100)
        gone, asking = weakref.ref(heard), await wire.ask(heard, timeout_s)
        wire.hear(said)
        if timeout_s:
            wire.connection.connection_lost(None)
        await asyncio.wait([asking])
        asking.exception()
        del heard, asking
        assert gone() is None
    finally:
        gc.enable()
