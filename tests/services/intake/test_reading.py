"""Records of topic `requests`."""

import json
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.intake.reading import read
from services.topics import CONTENT_TYPE, REQUESTS, Record, encode

JSON_HEADERS = {CONTENT_TYPE: b"application/json"}
A_REQUEST = inference.Request(task="address", messages=[inference.Message(role=inference.ROLE_USER, content="x")])
AS_JSON = json.dumps({"task": "address", "messages": [{"role": "user", "content": "x"}]}).encode()


def record(value: bytes, headers: dict[str, bytes] | None = None, offset: int = 0) -> Record:
    return Record("requests", b"", value, headers or {}, 0, offset)


def test_protobuf_with_and_without_the_header_and_json_say_the_same():
    plain = A_REQUEST.SerializeToString()
    made = [read(found, 1000) for found in (encode(REQUESTS, A_REQUEST), record(plain), record(AS_JSON, JSON_HEADERS))]
    for request in made:
        assert str(uuid.UUID(request.request_id)) == request.request_id
        request.ClearField("request_id")
    assert made == [A_REQUEST] * 3


def test_a_charset_beside_the_content_type_does_not_matter():
    assert read(record(AS_JSON, {CONTENT_TYPE: b"Application/JSON; charset=utf-8"}), 1000).task == "address"


def test_the_producers_id_stays():
    given_id = "0190a0b0-0000-7000-8000-000000000000"
    assert read(encode(REQUESTS, inference.Request(request_id=given_id)), 1000).request_id == given_id


def test_without_an_id_the_same_record_is_the_same_exchange_and_another_place_is_another():
    first, again, elsewhere = (read(record(AS_JSON, JSON_HEADERS, offset), 1000).request_id for offset in (4, 4, 5))
    assert first == again != elsewhere


def test_other_bytes_at_the_same_place_of_a_topic_made_anew_are_another_exchange():
    assert read(record(AS_JSON, JSON_HEADERS), 1000).request_id != read(record(AS_JSON + b" ", JSON_HEADERS), 1000)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(b"\xff\xff"), r"not a tutelage\.v1\.Request"),
        (record(b"{", JSON_HEADERS), "not JSON"),
        (record(b"[" * 100_000, JSON_HEADERS), "not JSON|above"),
        (record(b"[]", JSON_HEADERS), "dictionary"),
        (record(b"x" * 200_001), "above the limit"),
        (record(b"", {CONTENT_TYPE: b"text/plain"}), "content-type"),
    ],
)
def test_what_is_no_request_is_a_bad_event(bad, reason):
    with pytest.raises(BadEvent, match=reason):
        read(bad, 200_000)


@given(st.binary(max_size=60), st.sampled_from([{}, JSON_HEADERS]))
def test_no_bytes_do_worse_than_a_bad_event(value, headers):
    with suppress(BadEvent):
        assert read(record(value, headers), 1000).request_id
