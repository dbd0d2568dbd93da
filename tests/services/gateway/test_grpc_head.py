"""How calls begin and end, as headers."""

import base64
from contextlib import suppress
from itertools import pairwise
from urllib.parse import unquote

import grpc
import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.grpc_head import BEGIN, HEAD_MOST, REMEMBERED, TEXT_MOST, WELL, Head, Heads, block, status
from tests.services.gateway.grpc_caller import HEADERS

NAMES = st.text("abcdefgh-_.0", min_size=1).map("x-{}".format).filter(lambda name: not name.endswith("-bin"))
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
METADATA = st.lists(
    st.tuples(NAMES, VALUES) | st.tuples(NAMES.map("{}-bin".format), st.binary(max_size=30)), max_size=5
)


def read(*headers: tuple[str, str]) -> Head:
    """The head of a call with these headers beside the usual ones, which they replace."""
    named = {name for name, _ in headers}
    return Heads().read(Encoder().encode([*(pair for pair in HEADERS if pair[0] not in named), *headers]))


def said(block: bytes) -> list[tuple[str, str]]:
    """What hpack reads in a block."""
    return [(str(name), str(value)) for name, value in Decoder().decode(block)]


def test_a_call_says_where_to_and_how() -> None:
    assert read() == Head("/tests.Echo/Say", None, (), "identity")
    head = read(("grpc-encoding", "gzip"), ("grpc-timeout", "3S"), ("user-agent", "me"))
    assert head == Head("/tests.Echo/Say", 3.0, (("user-agent", "me"),), "gzip")


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_metadata_come_in_their_order(metadata: list[tuple[str, str]]) -> None:
    assert read(*metadata).metadata == tuple(metadata)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.booleans(), st.sampled_from([",", ", ", " ,\t"]))
def test_binary_metadata_come_as_bytes_with_padding_or_without(values: list[bytes], padded: bool, comma: str) -> None:
    texts = [base64.b64encode(value).decode().rstrip("" if padded else "=") for value in values]
    assert read(("x-bin", comma.join(texts))).metadata == tuple(("x-bin", value) for value in values)


@pytest.mark.parametrize("value", ["%%%", "a", "ab c", "ü"])
def test_binary_metadata_that_are_no_base64_are_no_call(value: str) -> None:
    assert "headers that gRPC does not allow" in read(("x-bin", value)).wrong


@pytest.mark.parametrize(
    ("text", "timeout_s"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("4m", 0.004),
        ("5u", 5e-6),
        ("6n", 6e-9),
        ("0S", 0),
        ("99999999H", 359999996400),
    ],
)
def test_a_timeout_is_read_in_all_units(text: str, timeout_s: float) -> None:
    assert read(("grpc-timeout", text)).timeout_s == pytest.approx(timeout_s)


@pytest.mark.parametrize("text", ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1S ", "\u0661S"])
def test_a_timeout_that_is_none_is_no_call(text: str) -> None:
    head = read(("grpc-timeout", text))
    assert head.timeout_s is None
    assert "grpc-timeout" in head.wrong


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_types_of_grpc_are_taken(kind: str) -> None:
    assert read(("content-type", kind)).http_status == 200


@pytest.mark.parametrize("kind", ["", "application/json", "application/grpc-web", "application/grpc+json"])
def test_other_content_types_are_not(kind: str) -> None:
    assert read(("content-type", kind)).http_status == 415


def test_what_is_no_post_is_no_call() -> None:
    assert read((":method", "GET")).http_status == 405
    assert Heads().read(b"").http_status == 405


def test_headers_of_16_kilobytes_are_taken_and_more_are_not() -> None:
    room = HEAD_MOST - sum(len(name) + len(value) + 32 for name, value in (*HEADERS, ("x", "")))
    assert read(("x", "v" * room)).metadata == (("x", "v" * room),)
    with pytest.raises(HPACKError, match=str(HEAD_MOST)):
        read(("x", "v" * (room + 1)))


def test_few_bytes_that_mean_many_headers_are_not_taken() -> None:
    big = Encoder().encode([("x", "v" * 3000)])
    with pytest.raises(HPACKError, match=str(HEAD_MOST)):
        Heads().read(big + b"\xbe" * 10)  # ten times the entry that the table now begins with


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.tuples(NAMES, VALUES | st.text("v", min_size=900, max_size=2500)), max_size=4), max_size=30)
)
def test_heads_that_are_known_by_their_bytes_mean_what_they_would_have_meant(
    calls: list[list[tuple[str, str]]],
) -> None:
    encoder, heads = Encoder(), Heads()
    for metadata in calls + calls:
        assert heads.read(encoder.encode([*HEADERS, *metadata])).metadata == tuple(metadata)


def test_a_head_is_read_once_and_only_so_many_are_kept() -> None:
    heads = Heads()
    blocks = [block(*HEADERS, ("x", str(at))) for at in range(2 * REMEMBERED)]
    for one in blocks:
        head = heads.read(one)
        assert heads.read(one).metadata == head.metadata
    assert heads.read(blocks[-1]) is head
    assert heads.read(blocks[0]).metadata == (("x", "0"),)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_an_error_of_hpack(garbage: bytes) -> None:
    with suppress(HPACKError):
        assert isinstance(Heads().read(garbage), Head)


@given(METADATA)
def test_what_ends_a_call_can_be_read_at_any_time(metadata: list[tuple[str, str | bytes]]) -> None:
    decoder = Decoder()
    ends = [BEGIN, WELL, status(grpc.StatusCode.NOT_FOUND, "?", tuple(metadata), has_begun=True)]
    before = [decoder.decode(end) for end in ends]
    assert [Decoder().decode(end) for end in ends] == before
    assert [decoder.decode(end) for end in ends] == before
    assert not decoder.header_table.dynamic_entries


@given(METADATA)
def test_trailing_metadata_come_back_as_they_were_given(metadata: list[tuple[str, str | bytes]]) -> None:
    ended = said(status(grpc.StatusCode.ABORTED, "", tuple(metadata), has_begun=True))
    assert ended[0] == ("grpc-status", "10")
    assert read(*ended[1:]).metadata == tuple(metadata)


def test_a_call_that_ends_before_it_began_says_both() -> None:
    headers = dict(said(status(grpc.StatusCode.NOT_FOUND, "nobody", has_begun=False)))
    assert (headers[":status"], headers["content-type"]) == ("200", "application/grpc")
    assert (headers["grpc-status"], headers["grpc-message"]) == ("5", "nobody")
    assert headers["grpc-accept-encoding"] == "identity,gzip,deflate"


@given(st.text(max_size=200))
def test_a_text_comes_back_whatever_it_is_of(text: str) -> None:
    told = dict(said(status(grpc.StatusCode.NOT_FOUND, text, has_begun=True))).get("grpc-message", "")
    assert all(0x20 <= ord(character) < 0x7F for character in told)
    assert unquote(told) == text


@pytest.mark.parametrize("character", ["a", "%", "ü", "€", "🙂", "\n"])
@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_long_text_is_cut_between_two_characters(before: str, character: str) -> None:
    whole = before + character * 9000
    told = dict(said(status(grpc.StatusCode.NOT_FOUND, whole, has_begun=True)))["grpc-message"]
    assert TEXT_MOST - 12 <= len(told) <= TEXT_MOST
    assert whole.startswith(unquote(told, errors="strict"))


def test_a_text_that_is_no_unicode_ends_its_call_all_the_same() -> None:
    told = dict(said(status(grpc.StatusCode.NOT_FOUND, "half \ud83d a smile", has_begun=True)))["grpc-message"]
    assert told == "half ? a smile"


def test_headers_that_changed_twice_in_one_block_are_not_taken_for_the_old_ones() -> None:
    heads, long = Heads(), [("x", letter * 3000) for letter in "abcde"]  # one of them fills the table
    newest = b"\xbe"
    heads.read(Encoder().encode(long[:1]))
    for first, second in pairwise(long[1:]):
        assert heads.read(newest).metadata == heads.read(newest).metadata
        heads.read(Encoder().encode([first, second]))
        assert heads.read(newest).metadata == (second,)


def test_a_table_that_was_made_smaller_in_between_is_noticed() -> None:
    heads = Heads()
    to_nothing, to_all, literal = b"\x20", b"\x3f\xe1\x1f", block(*HEADERS)
    heads.read(to_nothing + literal)
    heads.read(to_all + literal)
    heads.read(to_nothing + literal)
    heads.read(Encoder().encode([("x", "not kept")]))
    with pytest.raises(HPACKError, match="index"):
        heads.read(b"\xbe")


@pytest.mark.parametrize(("size", "is_remembered"), [(500, True), (3_000, False)])
def test_only_short_heads_are_remembered(size: int, is_remembered: bool) -> None:
    heads, long = Heads(), ("x-long", "v" * size)
    encoder = Encoder()
    heads.read(encoder.encode([*HEADERS, long]))
    short = encoder.encode([*HEADERS, long])  # What it says is in the table now.
    assert len(short) < 50
    assert (heads.read(short) is heads.read(short)) == is_remembered
