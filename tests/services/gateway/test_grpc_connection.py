"""HTTP/2 as h2's client speaks it, and as whoever means harm does."""

import gzip
import struct
from contextlib import suppress
from itertools import pairwise

import grpc
import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway import grpc_connection, grpc_outgoing
from services.gateway.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_MOST,
    WINDOW_UPDATE,
)
from services.gateway.grpc_connection import CALL_BYTES, IDLE_FRAMES_MOST, Connection
from services.gateway.grpc_head import HEAD_MOST, WELL, status
from services.gateway.grpc_outgoing import WAITING_CALL_BYTES
from services.gateway.grpc_streams import (
    CALM,
    COMPRESSION,
    FLOW_CONTROL,
    FRAME_SIZE,
    PROTOCOL_ERROR,
    Broken,
    Stream,
)
from services.gateway.held import Held
from tests.services.gateway import grpc_caller
from tests.services.gateway.grpc_caller import GREETING, Kept, Pair, grpc_bytes, raw

HEAD = Encoder().encode(grpc_caller.HEADERS)
A_CALL = raw(HEADERS, HEAD, END_HEADERS, 1)
MOST = 100_000
SIZES = st.integers(0, 300) | st.sampled_from([DEFAULT_FRAME - 5, DEFAULT_FRAME, DEFAULT_WINDOW, MOST])


def filled(size: int) -> bytes:
    """A message of this size."""
    return (b"0123456789" * (size // 10 + 1))[:size]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in parts, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def connected(
    *, message_most: int = MOST, streams_most: int = 100, held: Held | None = None
) -> tuple[Connection, Kept, bytearray]:
    """A connection, who answers it, and what it says."""
    calls, said = Kept(), bytearray()
    calls.connection = Connection(said.extend, calls, message_most=message_most, streams_most=streams_most, held=held)
    return calls.connection, calls, said


def broken_by(*parts: bytes) -> Broken:
    """What a peer hears who says this."""
    connection, _, said = connected()
    *before, last = parts
    for part in before:
        connection.receive(part)
    with pytest.raises(Broken) as broken:
        connection.receive(last)
    connection.leave(broken.value.code, str(broken.value))
    assert str(broken.value)[:200].encode() in said
    return broken.value


# As h2's client hears it


def test_a_call_is_heard_whole_and_answered() -> None:
    pair = Pair()
    stream = pair.call(b"how much?", headers={"x-who": "me"})
    assert (stream.head.path, stream.head.metadata) == ("/tests.Echo/Say", (("x-who", "me"),))
    assert (pair.calls.messages[stream.id], pair.calls.ended) == ([b"how much?"], [stream.id])
    pair.connection.send(stream, b"so much", WELL)
    pair.carry()
    (begin,), (end,) = pair.heard(h2.events.ResponseReceived), pair.heard(h2.events.TrailersReceived)
    assert dict(begin.headers)[":status"] == "200"
    assert pair.data(stream) == grpc_bytes(b"so much")
    assert end.headers == [("grpc-status", "0")]
    assert pair.heard(h2.events.StreamEnded, stream)
    assert pair.connection.streams == []


def test_a_call_is_answered_by_many_messages_and_then_ended() -> None:
    pair = Pair()
    stream = pair.call(b"count")
    for number in range(3):
        pair.connection.send(stream, bytes([number]))
    pair.connection.finish(stream)
    pair.carry()
    assert pair.data(stream) == grpc_bytes(b"\0", b"\1", b"\2")
    assert len(pair.heard(h2.events.ResponseReceived)) == len(pair.heard(h2.events.TrailersReceived)) == 1


def test_a_call_that_ends_before_its_caller_has_said_all_is_closed_for_him_too() -> None:
    pair = Pair()
    stream = pair.call(b"how", ends=False)
    pair.connection.finish(stream, status(grpc.StatusCode.NOT_FOUND, "?", has_begun=False))
    pair.carry()
    (reset,) = pair.heard(h2.events.StreamReset)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert dict(pair.heard(h2.events.ResponseReceived)[0].headers)["grpc-status"] == "5"


def test_headers_longer_than_a_frame_are_heard_and_said() -> None:
    pair, long = Pair(max_header_list_size=100_000), "v" * 50_000
    assert Pair().call(b"", headers={"x-long": "!" * 15_000}).head.metadata == (("x-long", "!" * 15_000),)
    stream = pair.call(b"")
    pair.connection.finish(stream, status(grpc.StatusCode.ABORTED, "", (("x-long", long),), has_begun=False))
    pair.carry()
    assert dict(pair.heard(h2.events.ResponseReceived)[0].headers)["x-long"] == long


def test_pings_come_back_as_they_were() -> None:
    pair = Pair()
    pair.client.ping(b"a1b2c3d4")
    pair.carry()
    assert [event.ping_data for event in pair.heard(h2.events.PingAckReceived)] == [b"a1b2c3d4"]


def test_who_leaves_says_so_and_answers_what_is_open() -> None:
    pair = Pair()
    pair.connection.leave()
    pair.carry()
    (left,) = pair.heard(h2.events.ConnectionTerminated)
    assert (left.error_code, left.last_stream_id) == (ErrorCodes.NO_ERROR, WINDOW_MOST)
    connection, calls, said = connected()
    connection.receive(GREETING + A_CALL)
    connection.leave()
    connection.receive(raw(DATA, grpc_bytes(b"all the same"), END_STREAM, 1))
    connection.send(calls.begun[0], b"yes", WELL)
    assert calls.messages[1] == [b"all the same"]
    assert grpc_bytes(b"yes") in said


def test_a_caller_who_goes_is_told_of_once_and_counts_until_the_work_is_done() -> None:
    pair = Pair(streams_most=1)
    stream = pair.call(b"")
    pair.client.reset_stream(stream.id)
    pair.carry()
    assert pair.calls.went == [stream.id]
    pair.connection.send(stream, b"too late")
    refused = pair.client.get_next_available_stream_id()
    pair.connection.forget(stream)
    assert pair.call(b"").id == refused
    pair.connection.lost()
    assert pair.calls.went == [stream.id, refused]


def test_more_calls_at_once_than_are_taken_are_refused_as_such() -> None:
    connection, calls, said = connected(streams_most=3)
    connection.receive(GREETING)
    for number in range(1, 21, 2):  # rapid reset: each is taken back at once
        said.clear()
        connection.receive(raw(HEADERS, HEAD, END_HEADERS | END_STREAM, number) + raw(RST_STREAM, bytes(4), 0, number))
        assert (raw(RST_STREAM, b"\0\0\0\7", 0, number) in said) == (number > 5)
    assert [stream.id for stream in calls.begun] == calls.went == [1, 3, 5]


# Whatever the parts


@settings(max_examples=50)
@given(
    st.lists(st.lists(SIZES, max_size=3), max_size=4),
    st.lists(st.integers(0, 30) | st.integers(0, 10**6), max_size=30),
)
def test_the_same_calls_come_wherever_the_bytes_were_cut(calls: list[list[int]], places: list[int]) -> None:
    said = bytearray(GREETING)
    for at, sizes in enumerate(calls):
        body = b"".join(grpc_bytes(filled(size)) for size in sizes)
        said += raw(HEADERS, HEAD[:10], 0, 2 * at + 1) + raw(CONTINUATION, HEAD[10:], END_HEADERS, 2 * at + 1)
        for start in range(0, len(body), DEFAULT_FRAME):
            said += raw(DATA, body[start : start + DEFAULT_FRAME], 0, 2 * at + 1)
        said += raw(DATA, b"", END_STREAM, 2 * at + 1)
    connection, kept, _ = connected()
    for part in cut(bytes(said), places):
        connection.receive(part)
    assert list(kept.messages.values()) == [[filled(size) for size in sizes] for sizes in calls]
    assert kept.ended == [stream.id for stream in kept.begun]
    assert connection.is_greeted


@settings(max_examples=50)
@given(st.lists(SIZES, max_size=3), st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 255))))
def test_messages_of_any_sizes_come_in_frames_of_any_sizes(sizes: list[int], frames: list[tuple[int, int]]) -> None:
    connection, kept, _ = connected()
    connection.receive(GREETING + A_CALL)
    body = b"".join(grpc_bytes(filled(size)) for size in sizes)
    for size, padding in frames:
        part, body = body[: min(size, DEFAULT_FRAME - 256)], body[min(size, DEFAULT_FRAME - 256) :]
        connection.receive(raw(DATA, bytes([padding]) + part + bytes(padding), PADDED, 1))
    for start in range(0, len(body), DEFAULT_FRAME):
        connection.receive(raw(DATA, body[start : start + DEFAULT_FRAME], 0, 1))
    assert kept.messages[1] == [filled(size) for size in sizes]


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_are_taken_or_break_the_protocol(parts: list[bytes]) -> None:
    connection, _, _ = connected()
    with suppress(Broken):
        for part in parts:
            connection.receive(part)


FRAMES = st.builds(
    raw,
    st.integers(0, 11),
    st.binary(max_size=30) | st.just(HEAD) | st.just(grpc_bytes(b"abc")) | st.just(grpc_bytes(b"abc", flag=1)),
    st.integers(0, 255) | st.sampled_from([END_HEADERS, END_HEADERS | END_STREAM, END_STREAM, 0]),
    st.integers(0, 9) | st.integers(0, 2**32 - 1),
)


@settings(max_examples=150)
@given(st.lists(FRAMES, max_size=20), st.data())
def test_any_frames_are_taken_or_break_the_protocol(frames: list[bytes], data: st.DataObject) -> None:
    connection, kept, _ = connected(streams_most=3)
    connection.receive(GREETING)
    with suppress(Broken):
        for frame in frames:
            connection.receive(frame)
            if open_calls := connection.streams:
                stream = data.draw(st.sampled_from(open_calls))
                connection.send(stream, b"piece", data.draw(st.sampled_from([b"", WELL])))
    connection.lost()
    assert {stream.id for stream in connection.streams} <= set(kept.went)


# Windows


@settings(max_examples=50)
@given(
    st.integers(0, 70_000),
    st.lists(st.lists(SIZES, min_size=1, max_size=3), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50_000))),
    st.booleans(),
)
def test_never_more_is_sent_than_the_windows_allow_and_all_in_the_end(
    window: int, answers: list[list[int]], opens: list[tuple[int, int]], changes: bool
) -> None:
    pair = Pair(initial_window_size=window, max_frame_size=DEFAULT_FRAME + window)
    streams = [pair.call(b"") for _ in answers]
    for stream, sizes in zip(streams, answers, strict=True):
        for size in sizes:
            pair.connection.send(stream, filled(size))
        pair.connection.finish(stream)
    pair.carry()  # h2 raises FlowControlError at the first byte too many
    if changes:
        pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 70_000 - window})
        pair.carry()
    for which, more in opens:
        pair.client.increment_flow_control_window(more, None if which == 0 else _open(pair, which))
        pair.carry()
    pair.client.increment_flow_control_window(10**8)
    for stream in pair.connection.streams:
        pair.client.increment_flow_control_window(10**8, stream.id)
    pair.carry()
    for stream, sizes in zip(streams, answers, strict=True):
        assert pair.data(stream) == grpc_bytes(*(filled(size) for size in sizes))
    assert len(pair.heard(h2.events.StreamEnded)) == len(answers)
    assert pair.connection.streams == []


def _open(pair: Pair, which: int) -> int | None:
    numbers = [stream.id for stream in pair.connection.streams]
    return numbers[which % len(numbers)] if numbers else None


def test_a_window_is_used_to_its_last_byte_and_no_further() -> None:
    pair = Pair()
    stream = pair.call(b"")
    pair.connection.send(stream, filled(2 * DEFAULT_WINDOW), WELL)
    pair.carry()
    assert len(pair.data(stream)) == DEFAULT_WINDOW
    pair.client.increment_flow_control_window(1)
    pair.client.increment_flow_control_window(10, stream.id)
    pair.carry()
    assert len(pair.data(stream)) == DEFAULT_WINDOW + 1


def test_a_window_below_nothing_waits_until_it_is_above() -> None:
    pair = Pair()
    stream = pair.call(b"")
    pair.connection.send(stream, filled(DEFAULT_WINDOW - 5))
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pair.client.increment_flow_control_window(10**6)
    pair.carry()
    pair.connection.send(stream, b"x", WELL)
    pair.carry()
    assert len(pair.data(stream)) == DEFAULT_WINDOW
    pair.client.increment_flow_control_window(DEFAULT_WINDOW - 10 + 6, stream.id)
    pair.carry()
    assert pair.data(stream)[-6:] == grpc_bytes(b"x")


def test_a_call_whose_window_is_closed_holds_no_other_back() -> None:
    pair = Pair(initial_window_size=0)
    closed, open_ = pair.call(b""), pair.call(b"")
    pair.connection.send(closed, b"one", WELL)
    pair.connection.send(open_, b"two", WELL)
    pair.client.increment_flow_control_window(100, open_.id)
    pair.carry()
    assert (pair.data(closed), pair.data(open_)) == (b"", grpc_bytes(b"two"))


def test_a_connection_that_is_full_sends_what_waits_when_it_is_no_longer() -> None:
    pair = Pair()
    stream = pair.call(b"")
    pair.connection.full(True)
    for piece in [b"one", b"two"]:
        pair.connection.send(stream, piece)
    pair.connection.finish(stream)
    pair.carry()
    assert pair.data(stream) == b""
    pair.connection.full(False)
    pair.carry()
    assert pair.data(stream) == grpc_bytes(b"one", b"two")
    assert pair.heard(h2.events.StreamEnded, stream)


def test_callers_may_send_a_message_of_the_limit_at_once_and_on_and_on() -> None:
    pair = Pair(message_most=8 * 1024**2)
    for _ in range(3):
        number = pair.client.get_next_available_stream_id()
        pair.client.send_headers(number, grpc_caller.HEADERS)
        body = grpc_bytes(bytes(8 * 1024**2))
        for start in range(0, len(body), DEFAULT_FRAME):
            pair.client.send_data(number, body[start : start + DEFAULT_FRAME])
        pair.client.end_stream(number)
        pair.carry()
        assert [len(message) for message in pair.calls.messages[number]] == [8 * 1024**2]


def test_the_connections_window_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_connection, "CONNECTION_WINDOW", 2 * DEFAULT_WINDOW)
    pair = Pair()
    for _ in range(10):
        assert pair.client.outbound_flow_control_window > 0
        pair.call(bytes(DEFAULT_FRAME - 5))


# Who means harm


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"\x16\x03\x01", PREFACE[:-1] + b"!"])
def test_who_does_not_speak_http2_is_told_that_this_port_does(request_: bytes) -> None:
    assert "this port speaks gRPC" in str(broken_by(request_))


HEAD_OF = {number: raw(HEADERS, HEAD, END_HEADERS, number) for number in range(6)}


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        pytest.param(raw(DATA, bytes(DEFAULT_FRAME + 1), 0, 1), FRAME_SIZE, "frame of 16385 bytes", id="a long frame"),
        pytest.param(b"\xff\xff\xff" + bytes(6), FRAME_SIZE, "frame of 16777215 bytes", id="the head of a long frame"),
        pytest.param(HEAD_OF[2], PROTOCOL_ERROR, "stream 2 can't begin", id="an even stream"),
        pytest.param(HEAD_OF[0], PROTOCOL_ERROR, "stream 0 can't begin", id="the connection's stream"),
        pytest.param(HEAD_OF[5] + HEAD_OF[3], PROTOCOL_ERROR, "stream 3 can't begin after 5", id="an old stream"),
        pytest.param(raw(DATA, b"?", 0, 1), PROTOCOL_ERROR, "stream 1, which has not begun", id="data of nothing"),
        pytest.param(raw(DATA, b"?"), PROTOCOL_ERROR, "stream 0, which has not begun", id="data of the connection"),
        pytest.param(raw(PING, bytes(7)), FRAME_SIZE, "PING of 7 bytes", id="a short ping"),
        pytest.param(raw(PING, bytes(DEFAULT_FRAME)), FRAME_SIZE, "PING of 16384", id="a long ping"),
        pytest.param(raw(CONTINUATION, HEAD, END_HEADERS, 1), PROTOCOL_ERROR, "of nothing", id="more of nothing"),
        pytest.param(
            raw(HEADERS, HEAD, 0, 1) + raw(PING, bytes(8)), PROTOCOL_ERROR, "not ended", id="no end of headers"
        ),
        pytest.param(
            raw(HEADERS, HEAD, 0, 1) + raw(CONTINUATION, HEAD, END_HEADERS, 3),
            PROTOCOL_ERROR,
            "not ended",
            id="another's headers",
        ),
        pytest.param(raw(PUSH_PROMISE, HEAD, END_HEADERS, 1), PROTOCOL_ERROR, "does not push", id="a push"),
        pytest.param(raw(WINDOW_UPDATE, bytes(4)), PROTOCOL_ERROR, "opens by nothing", id="no increment"),
        pytest.param(A_CALL + raw(WINDOW_UPDATE, bytes(4), 0, 1), PROTOCOL_ERROR, "by nothing", id="none of a call's"),
        pytest.param(raw(WINDOW_UPDATE, b"\x7f\xff\xff\xff"), FLOW_CONTROL, "2^31-1", id="too wide a window"),
        pytest.param(
            A_CALL + raw(WINDOW_UPDATE, b"\x7f\xff\xff\xff", 0, 1), FLOW_CONTROL, "2^31-1", id="too wide a call's"
        ),
        pytest.param(raw(SETTINGS, b"abc"), PROTOCOL_ERROR, "6 bytes", id="half a setting"),
        pytest.param(
            raw(SETTINGS, struct.pack(">HI", INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL, "2^31-1", id="wide windows"
        ),
        pytest.param(
            raw(SETTINGS, struct.pack(">HI", MAX_FRAME_SIZE, 100)), PROTOCOL_ERROR, "frames of 100", id="short frames"
        ),
        pytest.param(
            raw(SETTINGS, struct.pack(">HI", MAX_FRAME_SIZE, 2**24)), PROTOCOL_ERROR, "frames of", id="long frames"
        ),
        pytest.param(A_CALL + raw(DATA, b"\x09abc", PADDED, 1), PROTOCOL_ERROR, "more padding", id="data's padding"),
        pytest.param(
            raw(HEADERS, b"\xff" + HEAD, END_HEADERS | PADDED, 1), PROTOCOL_ERROR, "more padding", id="headers' padding"
        ),
        pytest.param(raw(HEADERS, b"\xff\xff\xff", END_HEADERS, 1), COMPRESSION, "can't be read", id="no headers"),
        pytest.param(
            raw(HEADERS, Encoder().encode([("x", "v" * 3000)]) + b"\xbe" * 100, END_HEADERS, 1),
            COMPRESSION,
            f"{HEAD_MOST}",
            id="few bytes that mean many headers",
        ),
        pytest.param(
            raw(HEADERS, HEAD, 0, 1) + raw(CONTINUATION, b"", 0, 1) * 100,
            CALM,
            "headers of more",
            id="no end of nothing",
        ),
        pytest.param(
            raw(HEADERS, HEAD, 0, 1) + raw(CONTINUATION, bytes(DEFAULT_FRAME), 0, 1) * 3,
            CALM,
            "headers of more",
            id="no end of headers",
        ),
    ],
)
def test_who_breaks_the_protocol_is_told_how(said: bytes, code: int, why: str) -> None:
    broken = broken_by(GREETING + said)
    assert (broken.code, why in str(broken)) == (code, True), broken


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(raw(PING, bytes(8)), id="pings"),
        pytest.param(raw(PING, bytes(8), ACK), id="pongs"),
        pytest.param(raw(SETTINGS), id="settings"),
        pytest.param(raw(SETTINGS, b"", ACK), id="settings' acknowledgements"),
        pytest.param(raw(PRIORITY, bytes(5), 0, 1), id="priorities"),
        pytest.param(raw(GOAWAY, bytes(8)), id="goodbyes"),
        pytest.param(raw(99), id="frames of no kind"),
        pytest.param(raw(DATA, b"", 0, 1), id="empty data"),
        pytest.param(raw(DATA, b"\0", PADDED, 1), id="data of padding"),
        pytest.param(raw(DATA, b"", END_STREAM, 1), id="ends of what has ended"),
        pytest.param(raw(RST_STREAM, bytes(4), 0, 1), id="resets of what has ended"),
    ],
)
def test_who_keeps_the_connection_busy_with_nothing_loses_it(frame: bytes) -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING + A_CALL)
    if frame == raw(DATA, b"", END_STREAM, 1):
        connection.finish(calls.begun[0])
    with pytest.raises(Broken, match="ask for nothing") as broken:
        connection.receive(frame * (IDLE_FRAMES_MOST + 2))
    assert broken.value.code == CALM


def test_who_asks_between_his_pings_keeps_his_connection() -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for number in range(1, 9, 2):
        connection.receive(raw(PING, bytes(8)) * (IDLE_FRAMES_MOST - 1) + raw(HEADERS, HEAD, END_HEADERS, number))
    assert len(calls.begun) == 4


def test_pings_that_come_one_by_one_are_none_too_many() -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for _ in range(2 * IDLE_FRAMES_MOST):
        connection.receive(raw(PING, bytes(8)))
    connection.receive(A_CALL)
    assert len(calls.begun) == 1


def test_priority_and_padding_of_headers_are_passed_over() -> None:
    connection, calls, _ = connected()
    padded = b"\3" + bytes(5) + HEAD + bytes(3)
    connection.receive(GREETING + raw(HEADERS, padded, END_HEADERS | PADDED | HAS_PRIORITY | END_STREAM, 1))
    assert calls.begun[0].head.path == "/tests.Echo/Say"
    assert calls.ended == [1]


def test_headers_after_a_calls_messages_end_it() -> None:
    pair = Pair()
    stream = pair.call(b"one", ends=False)
    pair.client.send_headers(stream.id, [("x-checksum", "1")], end_stream=True)
    pair.carry()
    assert pair.calls.ended == [stream.id]


def test_what_crosses_a_calls_end_is_passed_over() -> None:
    connection, calls, said = connected()
    connection.receive(GREETING + A_CALL)
    connection.finish(calls.begun[0], WELL)
    said.clear()
    connection.receive(raw(DATA, grpc_bytes(b"late"), 0, 1) + raw(WINDOW_UPDATE, b"\0\0\0\1", 0, 1))
    connection.receive(raw(DATA, b"", END_STREAM, 1) + raw(RST_STREAM, bytes(4), 0, 1))
    assert (calls.messages[1], calls.ended, calls.went, bytes(said)) == ([], [], [], b"")


@pytest.mark.parametrize("rest", [b"", grpc_bytes(b"more")])
def test_what_is_no_message_is_told_of_once(rest: bytes) -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING + A_CALL)
    connection.receive(raw(DATA, b"\0" + (MOST + 1).to_bytes(4, "big") + rest, 0, 1))
    ((number, error),) = calls.refused
    assert (number, error.code) == (1, grpc.StatusCode.RESOURCE_EXHAUSTED)


PART = b"\0" + MOST.to_bytes(4, "big") + bytes(DEFAULT_FRAME - 5)


def asked(number: int, *parts: bytes) -> bytes:
    """A call that has not ended, with these bytes of messages."""
    return raw(HEADERS, HEAD, END_HEADERS, number) + b"".join(raw(DATA, part, 0, number) for part in parts)


@pytest.fixture
def few_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten frames of messages are held on a connection, and next to nothing is counted for the calls themselves."""
    monkeypatch.setattr(grpc_connection, "HELD_MOST", 10 * DEFAULT_FRAME + 500)
    monkeypatch.setattr(grpc_connection, "CALL_BYTES", 1)


@pytest.mark.usefixtures("few_held")
@pytest.mark.parametrize("part", [PART, grpc_bytes(filled(DEFAULT_FRAME - 5)), grpc_bytes(*[b""] * 3276)])
def test_messages_that_nobody_has_taken_are_held_up_to_a_limit(part: bytes) -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for number in range(1, 41, 2):  # What has ended is held no longer.
        connection.receive(asked(number, part) + raw(RST_STREAM, bytes(4), 0, number))
        connection.forget(calls.begun[-1])
    for number in range(41, 101, 2):
        connection.receive(asked(number, part))
    refused = [number for number, _ in calls.refused]
    assert refused == list(range(61, 101, 2))
    assert {error.code for _, error in calls.refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert "wait for an answer before you send more" in str(calls.refused[0][1])


@pytest.mark.usefixtures("few_held")
def test_messages_that_were_taken_are_not_held() -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING + asked(1))
    for _ in range(100):
        connection.receive(raw(DATA, grpc_bytes(filled(DEFAULT_FRAME - 5)), 0, 1))
        connection.read(calls.begun[0], DEFAULT_FRAME - 5)
    assert calls.refused == []


@pytest.mark.usefixtures("few_held")
def test_what_is_no_message_leaves_the_count_of_held_bytes_as_it_was() -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for number in range(1, 41, 2):
        connection.receive(asked(number, b"\0", b"\xff" * (DEFAULT_FRAME - 5)))
    assert len(calls.refused) == 20
    connection.receive(b"".join(asked(number, PART) for number in range(41, 65, 2)))
    assert [number for number, _ in calls.refused[20:]] == [61, 63]


def test_calls_that_have_not_come_whole_are_held_up_to_a_limit_by_all_connections_together() -> None:
    held = Held(10 * DEFAULT_FRAME)
    connections = [connected(held=held) for _ in range(20)]
    for connection, _, _ in connections:
        connection.receive(GREETING + asked(1, PART))
    refused = [error for _, calls, _ in connections for _, error in calls.refused]
    assert [len(calls.refused) for _, calls, _ in connections] == [0] * 9 + [1] * 11
    assert {error.code for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert str(refused[0]) == f"the gateway holds {held.most_bytes} bytes of requests that have not come whole: " + (
        "send this one again in a moment"
    )
    connections[0][0].lost()
    connection, calls, _ = connected(held=held)
    connection.receive(GREETING + asked(1, PART))
    assert calls.refused == []


def test_windows_that_change_again_and_again_for_many_calls_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_connection, "VISITS_MOST", 1_000)
    connection, _, _ = connected()
    connection.receive(GREETING + b"".join(asked(number) for number in range(1, 21, 2)))
    changes = [raw(SETTINGS, struct.pack(">HI", INITIAL_WINDOW_SIZE, size)) for size in (100, 200)]
    for change in changes * 200:  # Who also says something else in between may go on.
        connection.receive(change)
    connection.receive(b"".join(changes) * 50)
    with pytest.raises(Broken, match="too many changes of the windows of all calls") as broken:
        connection.receive(b"".join(changes) * 6)
    assert broken.value.code == CALM


def test_calls_that_have_only_begun_are_held_up_to_the_limit_too() -> None:
    connection, calls, _ = connected(held=Held(10 * CALL_BYTES))
    connection.receive(GREETING + b"".join(asked(number) for number in range(1, 41, 2)))
    assert [number for number, _ in calls.refused] == list(range(21, 41, 2))


def test_calls_that_come_whole_are_taken_however_many_others_do_not() -> None:
    connection, calls, _ = connected(held=Held(0))
    connection.receive(GREETING + asked(1, grpc_bytes(b"whole")) + raw(DATA, b"", END_STREAM, 1) + asked(3))
    assert (calls.messages[1], calls.ended) == ([b"whole"], [1])
    assert [number for number, _ in calls.refused] == [3]


@given(st.lists(st.sampled_from(["part", "rest", "end", "reset", "refuse", "read", "nothing"]), max_size=30))
def test_nothing_is_held_of_calls_that_are_over_however_they_came_to_it(steps: list[str]) -> None:
    held, number = Held(), 1
    connection, calls, _ = connected(held=held)
    connection.receive(GREETING + asked(1))
    for step in steps:
        stream = calls.begun[-1]
        if step == "part":
            connection.receive(raw(DATA, grpc_bytes(b"12345678")[:10], 0, number))
        elif step == "rest":
            connection.receive(raw(DATA, bytes(8), 0, number))
        elif step == "end":
            connection.receive(raw(DATA, b"", END_STREAM, number))
        elif step == "read" and stream.untaken:
            connection.read(stream, stream.untaken - 5)
        elif step in ("reset", "refuse"):
            if step == "refuse":
                connection.finish(stream)
            elif not stream.gone:
                connection.receive(raw(RST_STREAM, bytes(4), 0, number))
                connection.forget(stream)
            assert held.bytes == 0
            number += 2
            connection.receive(asked(number))
    connection.lost()
    assert held.bytes == 0


@pytest.mark.parametrize(
    ("said", "waited"),
    [
        pytest.param([A_CALL + raw(DATA, grpc_bytes(b"?"), END_STREAM, 1)], [], id="whole at once"),
        pytest.param([A_CALL + raw(DATA, grpc_bytes(b"?"), 0, 1) + raw(DATA, b"", END_STREAM, 1)], [], id="in frames"),
        pytest.param([A_CALL + raw(RST_STREAM, bytes(4), 0, 1)], [], id="taken back"),
        pytest.param([A_CALL, raw(DATA, grpc_bytes(b"?"), END_STREAM, 1)], [1], id="its message later"),
        pytest.param(
            [A_CALL + raw(DATA, grpc_bytes(b"?"), 0, 1), raw(DATA, b"", END_STREAM, 1)], [1], id="its end later"
        ),
    ],
)
def test_it_is_said_of_calls_that_they_have_not_come_whole_and_once_only(said: list[bytes], waited: list[int]) -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for part in said:
        connection.receive(part)
    assert calls.waited == waited


@given(st.lists(st.integers(0, 50) | st.just(30_000), min_size=1, max_size=5), st.booleans())
def test_who_reads_a_calls_messages_opens_its_window_by_what_they_took(sizes: list[int], packs: bool) -> None:
    pair = Pair()
    stream = pair.call(ends=False, headers={"grpc-encoding": "gzip"})
    before = pair.client.local_flow_control_window(stream.id)
    bodies = [gzip.compress(filled(size)) if packs else filled(size) for size in sizes]
    sent = grpc_bytes(*bodies, flag=int(packs))
    for start in range(0, len(sent), DEFAULT_FRAME - 10):
        pair.client.send_data(stream.id, sent[start : start + DEFAULT_FRAME - 10], pad_length=9 if packs else None)
    pair.carry()
    for size in sizes:
        pair.connection.read(stream, size)
    pair.carry()
    assert pair.client.local_flow_control_window(stream.id) == before
    pair.client.end_stream(stream.id)
    pair.carry()
    assert pair.calls.ended == [stream.id]


class Hasty(Kept):
    """Ends each call at its first message."""

    def message(self, stream: Stream, message: bytes) -> None:
        super().message(stream, message)
        self.connection.finish(stream)


def test_a_call_that_was_ended_over_a_message_hears_of_no_other() -> None:
    calls = Hasty()
    calls.connection = Connection(bytearray().extend, calls, message_most=MOST, streams_most=1)
    calls.connection.receive(GREETING + A_CALL + raw(DATA, grpc_bytes(b"one", b"two", b"three"), END_STREAM, 1))
    assert (calls.messages[1], calls.ended, calls.connection.streams) == ([b"one"], [], [])


def test_all_calls_hear_that_their_caller_is_lost_whatever_he_did_before() -> None:
    connection, calls, _ = connected()
    connection.receive(GREETING)
    for number in (1, 3, 5):
        connection.receive(raw(HEADERS, HEAD, END_HEADERS, number))
    connection.receive(raw(RST_STREAM, bytes(4), 0, 1))
    with pytest.raises(Broken, match="ask for nothing"):
        connection.receive(raw(PING, bytes(8)) * (IDLE_FRAMES_MOST + 1))
    connection.lost()
    assert calls.went == [1, 3, 5]


def test_a_window_that_opens_makes_no_work_for_calls_whose_own_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    flush = Connection._flush

    def noted(connection: Connection, stream: Stream) -> bool:
        flushed.append(stream.id)
        return flush(connection, stream)

    monkeypatch.setattr(Connection, "_flush", noted)
    pair = Pair(initial_window_size=0)
    streams = [pair.call(b"") for _ in range(50)]
    for stream in streams:
        pair.connection.send(stream, b"wait", WELL)
    flushed.clear()
    pair.client.increment_flow_control_window(1)
    pair.client.increment_flow_control_window(1, streams[7].id)
    pair.client.increment_flow_control_window(100, streams[9].id)
    pair.carry()
    assert flushed == [streams[7].id, streams[9].id]
    assert pair.data(streams[9]) == grpc_bytes(b"wait")


def test_of_many_windows_in_one_settings_frame_the_last_one_counts() -> None:
    connection, calls, said = connected()
    connection.receive(GREETING + A_CALL + raw(DATA, grpc_bytes(b""), END_STREAM, 1))
    sizes = [70_000, 0, 5, WINDOW_MOST, 10]
    connection.receive(raw(SETTINGS, b"".join(struct.pack(">HI", INITIAL_WINDOW_SIZE, size) for size in sizes)))
    said.clear()
    connection.send(calls.begun[0], bytes(100))
    assert said.endswith(raw(DATA, grpc_bytes(bytes(100))[:10], 0, 1))


def test_a_window_that_settings_open_too_wide_is_refused() -> None:
    wide = raw(SETTINGS, struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW_MOST))
    assert broken_by(GREETING + A_CALL + raw(WINDOW_UPDATE, b"\0\0\0\1", 0, 1), wide).code == FLOW_CONTROL


@pytest.mark.parametrize("size", [0, 100, 4096, 10_000])
def test_a_peer_who_keeps_a_smaller_table_of_headers_can_read_them(size: int) -> None:
    pair = Pair(header_table_size=size)
    answered, refused = pair.call(b""), pair.call(b"")
    pair.connection.send(answered, b"yes", WELL)
    pair.connection.finish(refused, status(grpc.StatusCode.NOT_FOUND, "?", has_begun=False))
    pair.carry()  # hpack raises InvalidTableSizeError at a block that does not say so
    assert pair.heard(h2.events.TrailersReceived)[0].headers == [("grpc-status", "0")]
    assert len(pair.heard(h2.events.StreamEnded)) == 2


def test_answers_that_wait_for_their_windows_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_outgoing, "WAITING_MOST", 1000 + 2 * WAITING_CALL_BYTES)
    pair = Pair(initial_window_size=0)
    for _ in range(20):
        sent, gone = pair.call(b""), pair.call(b"")
        for stream in (sent, gone):
            pair.connection.send(stream, filled(400), WELL)
        pair.client.reset_stream(gone.id)
        pair.client.increment_flow_control_window(405, sent.id)
        pair.client.increment_flow_control_window(405)
        pair.carry()
        pair.connection.forget(gone)
        assert pair.data(sent) == grpc_bytes(filled(400))
    assert (pair.connection.streams, pair.calls.times_overfull) == ([], 0)
    for _ in range(3):
        pair.connection.send(pair.call(b""), filled(400), WELL)
    assert pair.calls.times_overfull == 1
