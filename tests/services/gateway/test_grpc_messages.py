"""Messages in a stream of bytes, however it comes in parts."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.grpc_messages import Messages, Unreadable, framed
from tests.services.gateway.grpc_caller import grpc_bytes

MOST = 1000
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in parts, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.binary(max_size=MOST), max_size=5), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_come_whole_wherever_they_were_cut(messages: list[bytes], places: list[int]) -> None:
    reader = Messages("identity", MOST)
    parts = cut(b"".join(framed(message) for message in messages), places)
    assert [message for part in parts for message in reader.take(part)] == messages
    assert reader.held_bytes == 0


@given(st.lists(st.binary(max_size=100)), st.binary(max_size=100), st.integers(1, 104))
def test_what_has_come_of_a_message_is_known(messages: list[bytes], last: bytes, missing: int) -> None:
    part = framed(last)[:-missing]
    reader = Messages("identity", MOST)
    assert reader.take(grpc_bytes(*messages) + part) == messages
    assert reader.held_bytes == len(part)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(message=st.binary(max_size=MOST), place=st.integers(0, 10_000))
def test_a_compressed_message_is_unpacked(encoding: str, message: bytes, place: int) -> None:
    reader = Messages(encoding, MOST + 100)
    parts = cut(grpc_bytes(PACKED[encoding](message), flag=1) + framed(message), [place])
    assert [message for part in parts for message in reader.take(part)] == [message, message]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_message_that_unpacks_beyond_the_limit_is_refused_and_not_unpacked_whole(encoding: str) -> None:
    bomb = grpc_bytes(PACKED[encoding](bytes(900 * MOST)), flag=1)
    with pytest.raises(Unreadable, match=f"a message of {MOST + 1} bytes; at most {MOST} are taken") as refused:
        Messages(encoding, MOST).take(bomb)
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("size", [MOST + 1, 2**32 - 1])
def test_a_message_longer_than_the_limit_is_refused_by_its_prefix(size: int) -> None:
    with pytest.raises(Unreadable, match=f"a message of {size} bytes") as refused:
        Messages("identity", MOST).take(b"\0" + size.to_bytes(4, "big"))
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_of_the_limit_is_taken_in_one_part_and_one_longer_is_not() -> None:
    assert Messages("identity", MOST).take(framed(bytes(MOST))) == [bytes(MOST)]
    with pytest.raises(Unreadable, match="at most 1000 are taken"):
        Messages("identity", MOST).take(framed(bytes(MOST + 1)))


def test_a_message_in_an_encoding_nobody_knows_is_refused_with_those_that_are_taken() -> None:
    with pytest.raises(Unreadable, match="'br': only gzip and deflate are taken") as refused:
        Messages("br", MOST).take(grpc_bytes(b"?", flag=1))
    assert refused.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_not_marked_as_compressed_is_taken_as_it_is() -> None:
    assert Messages("br", MOST).take(framed(b"plain")) == [b"plain"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(garbage=st.binary(max_size=100))
def test_garbage_that_is_marked_as_compressed_raises_nothing_but_unreadable(encoding: str, garbage: bytes) -> None:
    with suppress(Unreadable):
        assert all(len(message) <= MOST for message in Messages(encoding, MOST).take(grpc_bytes(garbage, flag=1)))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_messages_or_unreadable(garbage: bytes, places: list[int]) -> None:
    reader = Messages("gzip", MOST)
    for part in cut(garbage, places):
        try:
            reader.take(part)
        except Unreadable:
            return
    assert reader.held_bytes < MOST + 5


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(message=st.binary(max_size=MOST), missing=st.integers(1, 5), more=st.binary(max_size=5))
def test_a_compressed_message_that_does_not_end_where_it_says_is_refused(
    encoding: str, message: bytes, missing: int, more: bytes
) -> None:
    packed = PACKED[encoding](message)
    for wrong in [packed[:-missing], b"", *([packed + more] if more else [])]:
        with pytest.raises(Unreadable, match="does not unpack") as refused:
            Messages(encoding, MOST).take(grpc_bytes(wrong, flag=1))
        assert refused.value.code is grpc.StatusCode.INTERNAL


def test_a_compressed_message_of_a_call_that_named_no_encoding_breaks_the_protocol() -> None:
    with pytest.raises(Unreadable, match="compressed, and grpc-encoding does not say how") as refused:
        Messages("identity", MOST).take(grpc_bytes(b"?", flag=1))
    assert refused.value.code is grpc.StatusCode.INTERNAL
