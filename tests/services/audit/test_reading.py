"""A buried record's bytes, for people."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from services.audit.reading import masked, readable
from services.topics import EXCHANGES, TOPICS, encode
from tests.services.sink.messages import exchange


def test_a_message_that_can_be_decoded_is_shown_as_json() -> None:
    shown = json.loads(readable("exchanges", encode(EXCHANGES, exchange(3, "gateway")).value))
    assert (shown["source"], shown["sequence"], shown["request"]["task"]) == ("gateway", "3", "address")


def test_json_is_shown_as_it_is() -> None:
    assert json.loads(readable("requests", b'{"model": "gpt-4"}')) == {"model": "gpt-4"}


def test_a_torn_message_is_shown_up_to_the_tear_with_its_first_bytes() -> None:
    whole = events.Exchange(id="an-id", source="gateway", sequence=3).SerializeToString()
    shown = readable("exchanges", whole + encode(EXCHANGES, exchange()).value[-20:-3])
    assert '"source": "gateway"' in shown
    assert whole[:8].hex(" ") in shown


def test_a_damaged_field_hides_no_other() -> None:
    damaged = b"\x0a\x02\xff\xfe"  # The id, but not UTF-8.
    shown = readable("exchanges", damaged + events.Exchange(source="gateway").SerializeToString())
    assert '"source": "gateway"' in shown


@given(st.binary(max_size=300), st.sampled_from([*TOPICS, "no-topic"]))
def test_any_bytes_are_shown(value: bytes, topic: str) -> None:
    assert readable(topic, value) or not value


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"api_key": "abcdefgh1234"}', "abcdefgh1234"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("my key is sk-proj-AbCdEf123456", "AbCdEf123456"),
        ("header x-auth-token: hunter22", "hunter22"),
        ("https://user:pa55word@host/", "pa55word"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in masked(text)
    assert "***" in masked(text)
    assert secret.encode().hex(" ") not in readable("no-topic", b"\xff" + text.encode())


@pytest.mark.timeout(60)  # A pattern that tries every beginning of such a text takes hours.
@pytest.mark.parametrize("piece", ["x", "token", "://a:", "bearer ", "sk-"])
def test_mebibytes_without_a_space_are_looked_through(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert masked(f'{text} "api_key": "abcdefgh1234"').endswith('"api_key": "***"')


def test_counts_of_tokens_are_no_secret() -> None:
    assert masked('"prompt_tokens": 700, "max_tokens": "64"') == '"prompt_tokens": 700, "max_tokens": "64"'
