"""The body of a request as its caller packed it."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.http_body import unpacked


@given(st.binary(max_size=1_000))
def test_what_was_packed_is_unpacked(body: bytes) -> None:
    for packed, encoding in (
        (body, ""),
        (body, "identity"),
        (gzip.compress(body, mtime=0), "GZIP"),
        (zlib.compress(body), "deflate"),
    ):
        assert unpacked(packed, encoding, 1_000) == body


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (b"{}", "gzip", "content-encoding: the body is not gzip"),
        (b"", "deflate", "content-encoding: the body is not deflate to its end"),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", "content-encoding: the body is not gzip to its end"),
        (b"{}", "br", "content-encoding: 'br' is none of gzip, deflate"),
        (b"{}", "gzip, gzip", "content-encoding: 'gzip, gzip' is none of"),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(body: bytes, encoding: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        unpacked(body, encoding, 1_000)


def test_no_more_than_one_byte_too_many_is_unpacked() -> None:
    bomb = gzip.compress(bytes(1_000_000))
    assert len(unpacked(bomb, "gzip", 1_000)) == 1_001
    assert len(unpacked(bomb, "gzip", 1_000_000)) == 1_000_000
