"""What a client that repeats calls by itself makes of a refusal: gRPC's own retries against a gateway."""

import json
from collections.abc import AsyncIterator

import grpc
import pytest

from protos import inference_pb2_grpc
from services.gateway.backends import BackendFailed, FailureKind
from services.gateway.hints import LONGEST_WAIT_S, is_pointless, trailers
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request

REPEATED = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"]
POLICY = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": REPEATED,
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
async def patient(gateway: Gateway) -> AsyncIterator[inference_pb2_grpc.InferenceStub]:
    """A client that tries three times whatever it may."""
    options = (("grpc.service_config", CONFIG),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options=options) as channel:
        yield inference_pb2_grpc.InferenceStub(channel)


@pytest.mark.contract
async def test_what_the_gateway_has_repeated_is_not_repeated_by_its_caller(
    gateway: Gateway, patient: inference_pb2_grpc.InferenceStub
) -> None:
    gateway.teacher.breaks()
    assert (await status_of(patient.Complete(a_request())))[0] is grpc.StatusCode.UNAVAILABLE
    assert len(gateway.teacher.asks) == 1


@pytest.mark.contract
async def test_an_answer_that_may_not_be_given_is_not_paid_for_again(
    gateway: Gateway, patient: inference_pb2_grpc.InferenceStub
) -> None:
    gateway.teacher.text = "no JSON"
    code, said = await status_of(patient.Complete(a_request(response_schema="{}")))
    assert (code, len(gateway.teacher.asks)) == (grpc.StatusCode.FAILED_PRECONDITION, 1)
    assert said.startswith("no backend could answer (teacher: ")


@pytest.mark.contract
async def test_what_may_succeed_a_moment_later_is_repeated(
    gateway: Gateway, patient: inference_pb2_grpc.InferenceStub
) -> None:
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=0.01)
    await status_of(patient.Complete(a_request()))
    assert len(gateway.teacher.asks) == 3


@pytest.mark.contract
async def test_nobody_waits_for_what_is_beyond_his_deadline(
    gateway: Gateway, patient: inference_pb2_grpc.InferenceStub
) -> None:
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "HTTP 429", retry_after_s=40.0)
    code, _said = await status_of(patient.Complete(a_request(), timeout=30))
    assert (code, len(gateway.teacher.asks)) == (grpc.StatusCode.UNAVAILABLE, 1)


def test_a_wait_that_is_longer_than_a_call_lasts_is_told_to_people_and_not_waited_by_programs() -> None:
    told = dict(trailers(BUSY, "its day is over", 3_600.0))
    assert (told["retry-after"], told["grpc-retry-pushback-ms"]) == ("3600", "-1")
    assert dict(trailers(BUSY, "a moment", 1.25, left_s=2.0))["grpc-retry-pushback-ms"] == "1250"
    assert dict(trailers(BUSY, "a moment", 2.5, left_s=2.0))["grpc-retry-pushback-ms"] == "-1"


def test_what_may_be_repeated_at_once_is_so_after_a_millisecond_as_of_none_grpc_never_begins() -> None:
    told = dict(trailers(grpc.StatusCode.UNAVAILABLE, "it broke off", 0.0, left_s=2.0))
    assert (told["retry-after"], told["grpc-retry-pushback-ms"]) == ("0", "1")


@pytest.mark.parametrize(
    ("code", "wait_s", "pointless"),
    [
        (BUSY, LONGEST_WAIT_S, False),
        (BUSY, LONGEST_WAIT_S + 1, True),
        (grpc.StatusCode.UNAVAILABLE, 0.0, False),
        (grpc.StatusCode.UNAVAILABLE, None, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, True),
        (grpc.StatusCode.FAILED_PRECONDITION, None, True),
        (grpc.StatusCode.INVALID_ARGUMENT, None, False),
        (grpc.StatusCode.ABORTED, None, False),
        (grpc.StatusCode.INTERNAL, None, False),
    ],
)
def test_a_repeat_is_pointless_by_the_kind_of_end(code: grpc.StatusCode, wait_s: float | None, pointless: bool) -> None:
    assert is_pointless(code, wait_s) is pointless
