"""Replies and refusals in OpenAI's shapes."""

import grpc
import pytest

from protos import inference_pb2 as inference
from services.gateway import http_reply
from services.gateway.door import STATUSES, Refusal


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400, "invalid_request_error"),
        (grpc.StatusCode.UNAUTHENTICATED, 401, "authentication_error"),
        (grpc.StatusCode.PERMISSION_DENIED, 403, "permission_error"),
        (grpc.StatusCode.NOT_FOUND, 404, "invalid_request_error"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "rate_limit_error"),
        (grpc.StatusCode.FAILED_PRECONDITION, 502, "server_error"),
        (grpc.StatusCode.INTERNAL, 500, "server_error"),
        (grpc.StatusCode.UNAVAILABLE, 503, "server_error"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "server_error"),
    ],
)
def test_a_status_of_grpc_has_its_place_in_http(code: grpc.StatusCode, status: int, kind: str) -> None:
    told, body, _headers = http_reply.refusal_of(Refusal(code, "no"))
    assert (told, body["error"]["type"], body["error"]["message"]) == (status, kind, "no")


@pytest.mark.parametrize(
    ("code", "text", "param"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "stop[0]: is empty", "stop[0]"),
        (grpc.StatusCode.NOT_FOUND, "task: 'x' is not defined", "model"),
        (grpc.StatusCode.UNAUTHENTICATED, "authorization: is missing", None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota: is used", None),
        (grpc.StatusCode.UNAVAILABLE, "teacher: is away", None),
    ],
)
def test_a_field_is_named_where_the_body_is_to_blame(code: grpc.StatusCode, text: str, param: str | None) -> None:
    assert http_reply.refusal_of(Refusal(code, text))[1]["error"]["param"] == param


def test_whatever_a_call_may_end_with_has_a_status_of_its_own() -> None:
    assert set(STATUSES.values()) <= set(http_reply.ERRORS)


def test_a_refusal_says_when_to_come_again_in_both_spellings() -> None:
    _status, _body, headers = http_reply.refusal_of(Refusal(grpc.StatusCode.UNAVAILABLE, "no", retry_after_s=1.25))
    assert headers == {"retry-after": "2", "retry-after-ms": "1250"}
    assert http_reply.refusal_of(Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no"))[2] == {}


@pytest.mark.parametrize(
    ("code", "after_s", "headers"),
    [
        (grpc.StatusCode.UNAVAILABLE, None, {"x-should-retry": "false"}),
        (grpc.StatusCode.FAILED_PRECONDITION, None, {"x-should-retry": "false"}),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            3600.0,
            {"x-should-retry": "false", "retry-after": "3600", "retry-after-ms": "3600000"},
        ),
    ],
)
def test_the_openai_packages_are_told_where_a_repeat_is_pointless(
    code: grpc.StatusCode, after_s: float | None, headers: dict[str, str]
) -> None:
    assert http_reply.refusal_of(Refusal(code, "no", after_s))[2] == headers


def test_a_models_name_can_not_begin_another_header() -> None:
    headers = http_reply.headers(inference.Reply(exchange_id="x", model="a\r\nset-cookie: b"))
    assert headers["x-tutelage-model"] == "a??set-cookie: b"


def test_every_end_has_a_word_and_only_a_whole_answer_says_that_it_is_one() -> None:
    assert set(http_reply.WORDS) == set(inference.Finish.values())
    assert [word for word in http_reply.WORDS.values() if word in {"stop", "tool_calls"}] == ["stop", "tool_calls"]
