"""What an exchange is called."""

import uuid

import uuid_utils

from protos import inference_pb2 as inference
from services.gateway.identity import exchange_id
from services.openai_request import request_of
from services.openai_shapes import ChatRequest
from tests.services.gateway.examples import a_request

V7 = "0190a0b0-1234-7000-8000-000000000000"
V4 = "3f1c6a52-5b0c-4a57-9d43-2f9f6f3a1b11"


def called(named: str) -> inference.Request:
    """A request as it comes by HTTP under an id that is no UUID."""
    return request_of(ChatRequest(messages=[{"role": "user", "content": "a"}], request_id=named), "say")


def test_without_a_key_the_request_id_is_the_exchanges() -> None:
    assert exchange_id(a_request(request_id=V7), "") == V7
    assert exchange_id(a_request(request_id=V4), "") == V4


def test_without_a_request_id_each_exchange_has_an_id_of_its_own_that_tells_its_time() -> None:
    first, second = exchange_id(a_request(), "ann"), exchange_id(a_request(), "ann")
    assert first != second
    assert uuid.UUID(first).version == 7


def test_whoever_asks_the_same_again_means_the_same_exchange() -> None:
    for named in (V7, V4):
        first, again = (exchange_id(a_request(request_id=named, metadata={"b": "1", "a": "2"}), "ann") for _ in "12")
        assert first == again


def test_nobody_can_name_the_exchange_of_another_key() -> None:
    anns = exchange_id(a_request(request_id=V7), "ann")
    assert exchange_id(a_request(request_id=V7), "bob") != anns
    assert exchange_id(a_request(request_id=anns), "bob") != anns
    assert exchange_id(a_request(request_id=anns), "ann") != anns


def test_another_text_under_the_same_request_id_is_another_exchange() -> None:
    assert exchange_id(a_request("a", request_id=V7), "ann") != exchange_id(a_request("b", request_id=V7), "ann")


def test_an_id_that_people_wrote_is_no_exchanges_without_what_was_asked_even_where_there_are_no_keys() -> None:
    first, again, other = called("order-7"), called("order-7"), called("order-7")
    other.messages[0].content = "b"
    assert exchange_id(first, "") == exchange_id(again, "") != exchange_id(other, "")


def test_a_request_id_that_tells_a_time_leaves_it_to_the_exchange_and_any_other_tells_none() -> None:
    timed = uuid_utils.UUID(exchange_id(a_request(request_id=V7), "ann"))
    assert (timed.version, timed.timestamp) == (7, uuid_utils.UUID(V7).timestamp)
    assert uuid_utils.UUID(exchange_id(a_request(request_id=V4), "ann")).version == 8
