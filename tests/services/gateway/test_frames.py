"""Frames as an independent reader of HTTP/2 understands them."""

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import frames

STREAMS = st.integers(1, frames.WINDOW_MOST)


def read(data: bytes) -> list[Frame]:
    """What hyperframe makes of it."""
    found, view = [], memoryview(data)
    while view:
        frame, length = Frame.parse_frame_header(view[:9])
        frame.parse_body(view[9 : 9 + length])
        found.append(frame)
        view = view[9 + length :]
    return found


@given(STREAMS, st.integers(0, frames.WINDOW_MOST))
def test_a_frame_is_read_as_it_was_written(stream: int, code: int) -> None:
    (frame,) = read(frames.frame(frames.RST_STREAM, 0, stream, code.to_bytes(4, "big")))
    assert isinstance(frame, RstStreamFrame)
    assert (frame.stream_id, frame.error_code) == (stream, code)
    assert frames.number(code.to_bytes(4, "big")) == code


@given(st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_head_is_read_from_nine_bytes(length: int, kind: int, flags: int, stream: int) -> None:
    head = length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    upper, lower, *rest = frames.HEAD.unpack(head)
    assert (upper << 8 | lower, *rest) == (length, kind, flags, stream)


@given(STREAMS, st.binary(max_size=200), st.integers(1, 50))
def test_data_comes_in_frames_that_are_no_longer_than_the_peer_takes(stream: int, data: bytes, most: int) -> None:
    found = read(frames.data_frames(stream, data, most))
    assert all(isinstance(frame, DataFrame) and frame.stream_id == stream and not frame.flags for frame in found)
    assert all(len(frame.data) <= most for frame in found if isinstance(frame, DataFrame))
    assert b"".join(frame.data for frame in found if isinstance(frame, DataFrame)) == data


@given(st.integers(0, 3 * frames.DEFAULT_FRAME), st.sampled_from([0, frames.END_STREAM]))
def test_headers_of_any_length_are_one_block(length: int, flags: int) -> None:
    block = bytes(at % 251 for at in range(length))
    first, *more = read(frames.headers_frames(7, block, flags))
    assert isinstance(first, HeadersFrame)
    assert ("END_STREAM" in first.flags) == bool(flags)
    assert ["END_HEADERS" in frame.flags for frame in [first, *more]] == [False] * len(more) + [True]
    parts = [frame.data for frame in more if isinstance(frame, ContinuationFrame)]
    assert len(parts) == len(more)
    assert all(len(part) <= frames.DEFAULT_FRAME for part in parts)
    assert b"".join([first.data, *parts]) == block


def test_settings_and_windows_are_read_as_they_were_written() -> None:
    asked = {frames.MAX_CONCURRENT_STREAMS: 7, frames.INITIAL_WINDOW_SIZE: frames.WINDOW_MOST}
    settings, window = read(frames.settings(asked) + frames.window_update(3, frames.WINDOW_MOST))
    assert isinstance(settings, SettingsFrame)
    assert settings.settings == asked
    assert isinstance(window, WindowUpdateFrame)
    assert (window.stream_id, window.window_increment) == (3, frames.WINDOW_MOST)


@given(st.binary(max_size=50), st.integers(0, 255))
def test_padding_is_taken_off(data: bytes, length: int) -> None:
    padded = DataFrame(1, data, pad_length=length, flags=["PADDED"]).serialize()
    assert frames.unpadded(frames.PADDED, padded[9:]) == data
    assert frames.unpadded(0, padded[9:]) == padded[9:]


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x03ab", b"\xff" * 255])
def test_more_padding_than_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="more padding than payload"):
        frames.unpadded(frames.PADDED, payload)
