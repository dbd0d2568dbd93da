"""Bytes of HTTP/2 in, messages out, and back. That real servers understand it stands in `test_student`."""

import struct
from functools import partial
from itertools import pairwise

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from services.gateway.grpc_stream import MESSAGE_MOST, WINDOW, GrpcStream
from tests.services.gateway.grpc_caller import grpc_bytes, raw

MANY = 10 * DEFAULT_WINDOW
frame = partial(raw, stream=1)


def headers(**values: str) -> bytes:
    return Encoder().encode([(name.replace("_", "-"), value) for name, value in values.items()])


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each."""
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        found.append((*struct.unpack(">BBI", data[3:9]), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def opened() -> GrpcStream:
    stream = GrpcStream("triton:8001", "/a.B/C")
    stream.control_to_send()
    return stream


def sent(stream: GrpcStream) -> bytes:
    return b"".join(payload for _, _, _, payload in frames(stream.data_to_send()))


def window_update(more: int, stream: int) -> bytes:
    return frame(WINDOW_UPDATE, more.to_bytes(4, "big"), stream=stream)


def test_it_opens_with_the_preface_its_settings_and_a_request_that_stays_open():
    opening = GrpcStream("triton:8001", "/a.B/C").control_to_send()
    assert opening.startswith(PREFACE)
    kinds = [(kind, flags, stream) for kind, flags, stream, _ in frames(opening.removeprefix(PREFACE))]
    assert kinds == [(SETTINGS, 0, 0), (WINDOW_UPDATE, 0, 0), (HEADERS, END_HEADERS, 1)]


@given(
    messages=st.lists(st.binary(max_size=300), max_size=8),
    frame_bytes=st.integers(1, 200),
    cuts=st.lists(st.integers(0, 4_000), max_size=10),
)
def test_messages_come_out_whole_however_their_bytes_are_cut(messages: list[bytes], frame_bytes: int, cuts: list[int]):
    body, stream = grpc_bytes(*messages), opened()
    data = frame(HEADERS, Encoder().encode([(":status", "200")]), END_HEADERS)
    data += b"".join(frame(DATA, body[at : at + frame_bytes]) for at in range(0, len(body), frame_bytes))
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    came = [m for start, end in pairwise(places) for m in stream.receive(data[start:end])]
    assert (came, stream.ended) == (messages, "")


@given(messages=st.lists(st.binary(max_size=3 * DEFAULT_FRAME), max_size=6), step=st.integers(1_000, 50_000))
def test_messages_go_out_in_order_in_frames_no_larger_than_allowed_and_never_beyond_the_windows(
    messages: list[bytes], step: int
):
    stream, gone, room = opened(), b"", DEFAULT_WINDOW
    for place, message in enumerate(messages):
        stream.send(str(place), message)
    while len(gone) < len(grpc_bytes(*messages)):
        found = frames(stream.data_to_send())
        assert all(0 < len(payload) <= DEFAULT_FRAME for *_, payload in found)
        gone += b"".join(payload for *_, payload in found)
        assert len(gone) <= room
        stream.receive(window_update(step, 0) + window_update(step, 1))
        room += step
    assert gone == grpc_bytes(*messages)


def test_each_of_the_two_windows_holds_messages_back():
    for open_one in (0, 1):
        stream = opened()
        stream.send("a", bytes(MANY))
        assert len(sent(stream)) == DEFAULT_WINDOW
        stream.receive(window_update(MANY, open_one))
        assert sent(stream) == b""
        stream.receive(window_update(5, 1 - open_one))
        assert len(sent(stream)) == 5


def test_the_peers_settings_change_the_streams_window_and_the_frames_and_are_acknowledged():
    stream = opened()
    stream.send("a", bytes(MANY))
    sent(stream)
    settings = struct.pack(">HIHI", INITIAL_WINDOW_SIZE, 2 * DEFAULT_WINDOW, MAX_FRAME_SIZE, 2**20)
    stream.receive(frame(SETTINGS, settings, stream=0) + window_update(MANY, 0))
    assert frames(stream.control_to_send()) == [(SETTINGS, ACK, 0, b"")]
    assert [len(payload) for *_, payload in frames(stream.data_to_send())] == [DEFAULT_WINDOW]


def test_a_message_can_be_withdrawn_until_it_has_begun_to_go_out():
    stream = opened()
    stream.send("large", bytes(MANY))
    stream.send("small", b"x")
    sent(stream)
    assert not stream.withdraw("large")
    assert stream.withdraw("small")
    assert not stream.withdraw("small")
    stream.receive(window_update(MANY, 0) + window_update(MANY, 1))
    assert len(sent(stream)) == MANY + 5 - DEFAULT_WINDOW


def test_what_was_read_is_told_so_that_the_peer_may_send_more():
    stream, payload = opened(), bytes(DEFAULT_FRAME)
    for _ in range(WINDOW // 4 // DEFAULT_FRAME + 1):
        stream.receive(frame(DATA, payload))
    told = frames(stream.control_to_send())
    assert [(kind, stream_id) for kind, _, stream_id, _ in told] == [(WINDOW_UPDATE, 0), (WINDOW_UPDATE, 1)]
    assert {int.from_bytes(more, "big") for *_, more in told} == {WINDOW // 4 + DEFAULT_FRAME}


def test_a_ping_is_answered_and_an_answer_to_one_is_not():
    stream = opened()
    stream.receive(frame(PING, b"12345678", stream=0) + frame(PING, b"12345678", ACK, stream=0))
    assert frames(stream.control_to_send()) == [(PING, ACK, 0, b"12345678")]


def test_padding_and_headers_in_parts_are_read():
    stream, block = opened(), Encoder().encode([(":status", "200"), ("x", "y" * 50)])
    stream.receive(frame(HEADERS, block[:5]) + frame(CONTINUATION, block[5:], END_HEADERS))
    assert stream.receive(frame(DATA, b"\3" + grpc_bytes(b"hello") + b"\0\0\0", PADDED)) == [b"hello"]
    assert stream.ended == ""


def test_a_peer_that_takes_no_more_streams_goes_on_with_this_one():
    stream = opened()
    assert stream.receive(frame(GOAWAY, struct.pack(">II", 1, 0), stream=0) + frame(DATA, grpc_bytes(b"hi"))) == [b"hi"]
    assert (stream.leaving, stream.ended) == (True, "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            frame(HEADERS, headers(grpc_status="14", grpc_message="gone%20away"), END_HEADERS | END_STREAM),
            "14: gone away",
        ),
        (frame(HEADERS, Encoder().encode([(":status", "503")]), END_HEADERS), "HTTP status 503"),
        (frame(HEADERS, b"\xff\xff\xff\xff\xff\xff\xff", END_HEADERS), "headers that can't be read"),
        (frame(RST_STREAM, struct.pack(">I", 8)), "reset, HTTP/2 code 8"),
        (frame(GOAWAY, struct.pack(">II", 1, 11) + b"too_many_pings", stream=0), "code 11: too_many_pings"),
        (frame(GOAWAY, struct.pack(">II", 0, 0), stream=0), "the connection was ended"),
        (frame(GOAWAY, b"\0", stream=0), "8 bytes"),
        (frame(DATA, b"", END_STREAM), "without a status"),
        (frame(DATA, b"\1\0\0\0\1x"), "compressed"),
        (frame(DATA, b"\0" + struct.pack(">I", MESSAGE_MOST + 1)), "a message of"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of"),
    ],
)
def test_what_ends_the_stream_is_said_and_what_came_before_it_is_not_lost(data: bytes, why: str):
    stream = opened()
    assert stream.receive(frame(DATA, grpc_bytes(b"before")) + data) == [b"before"]
    assert why in stream.ended


@given(st.binary(max_size=200))
def test_whatever_comes_either_is_understood_or_ends_the_stream(data: bytes):
    opened().receive(data)
