"""Server-sent events: whatever ends their lines and wherever they are cut, the same data comes out."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.teacher_events import Events

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
FIELDS = st.sampled_from([b"data", b"data:", b"data: ", b"data:  ", b": ", b"event: ", b"id", b"datas: ", b"retry: 3"])
TEXTS = st.text(alphabet="a:ü€\N{GRINNING FACE}\ufeff \x0b\x0c\x1c\x85\u2028", max_size=4).map(str.encode)
LINES = st.one_of(st.just(b""), st.tuples(FIELDS, TEXTS).map(b"".join))
STREAMS = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=12).map(b"".join)


def heard(*pieces: bytes) -> list[str]:
    events = Events()
    return [data for piece in pieces for data in events.take(piece)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


@given(stream=STREAMS, places=st.lists(st.integers(0, 120), max_size=8))
@example(stream=b"data: one\r\n\ndata: two\n\n", places=[10, 11])
@example(stream=b"data: one\r\n\r\n", places=[10, 11, 11, 12])
def test_a_stream_cut_anywhere_gives_the_same(stream: bytes, places: list[int]):
    whole = heard(stream)
    assert heard(*cut(stream, places)) == whole
    assert heard(*(bytes([byte]) for byte in stream)) == whole


@given(texts=st.lists(st.text(min_size=1).filter(lambda text: not {"\r", "\n"} & set(text))), end=ENDS)
def test_what_was_said_is_heard_whatever_ends_the_lines(texts: list[str], end: bytes):
    assert heard(b"".join(b"data: " + text.encode() + end + end for text in texts)) == texts


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: one\n\n", ["one"]),
        (b"data:one\n\n", ["one"]),
        (b"data:  one \n\n", [" one "]),
        (b"data: one\ndata: two\n\n", ["one\ntwo"]),
        (b"data: one\ndata\ndata:\n\n", ["one\n\n"]),
        (b"data: one\n\ndata: two", ["one"]),
        (b"data: one\n\ndata: two\n", ["one"]),
        (b"\n\n\ndata: one\n\n\n\n", ["one"]),
        (b": here still\n\nevent: message\nid: 3\ndata: one\nretry: 9\n\n", ["one"]),
        (b"Data: one\n data: two\ndata : three\n\n", []),
        (b"\xef\xbb\xbfdata: one\n\n", ["one"]),
        (b"\xef\xbb\xbf\ndata: one\n\n", ["one"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: one\n\ndata: two\n\n", ["two"]),
        (b"data: one\n\n\xef\xbb\xbfdata: two\n\n", ["one"]),
        (b"data: a\xffb\n\n", ["a\N{REPLACEMENT CHARACTER}b"]),
        (b"data: a\x00\x0b\x1c\xc2\x85b\n\n", ["a\x00\x0b\x1c\x85b"]),
        (b"data: one\r\rdata: two\r\n\rdata: three\n\r\n", ["one", "two", "three"]),
        (b"", []),
    ],
)
def test_a_stream_is_read_as_whatwg_has_it(stream: bytes, data: list[str]):
    assert heard(stream) == data


@pytest.mark.parametrize("nothing", [b"data:\n\n", b"data\n\n", b"event: ping\n\n", b": ping\n\n", b"\n"])
def test_an_event_without_data_is_none_and_leaves_the_next_one_alone(nothing: bytes):
    assert heard(nothing + b"data: [DONE]\n\n") == ["[DONE]"]


def test_an_event_is_told_at_its_carriage_return_and_the_line_feed_after_it_is_no_line():
    events = Events()
    assert list(events.take(b"data: one\r\n\r")) == ["one"]
    assert list(events.take(b"\ndata: two\r\n\r\n")) == ["two"]


def test_who_has_heard_enough_takes_no_more():
    first = next(Events().take(b"data: one\n\ndata: two\n\n"))
    assert first == "one"


def test_a_line_in_many_small_pieces_is_put_together_once(monkeypatch: pytest.MonkeyPatch):
    copied: list[int] = []

    def counting(data: bytearray) -> bytes:
        copied.append(len(data))
        return bytes(data)

    monkeypatch.setattr("services.gateway.teacher_events.bytes", counting, raising=False)
    pieces = [b"data: ", *([b"word "] * 10_000), b"\n", b"\n"]
    assert heard(*pieces) == ["word " * 10_000]
    assert sum(copied) <= sum(map(len, pieces))
