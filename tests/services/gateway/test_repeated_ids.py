"""The same request_id over gRPC: one exchange, one reply."""

import asyncio

import grpc
import pytest

from protos import events_pb2 as events
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import AN_ID, a_request, until

pytestmark = pytest.mark.contract


async def test_the_same_request_id_under_way_is_one_exchange(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 0.1
    request = a_request(request_id=AN_ID)
    first, second = await asyncio.gather(gateway.inference.Complete(request), gateway.inference.Complete(request))
    assert first == second
    assert first.exchange_id == AN_ID.lower()
    assert len(gateway.spool.exchanges) == len(gateway.teacher.asks) == 1


async def test_the_same_request_id_after_the_answer_is_one_exchange(gateway: Gateway) -> None:
    request = a_request(request_id=AN_ID)
    first = await gateway.inference.Complete(request)
    assert await gateway.inference.Complete(request) == first
    (chunk,) = [chunk async for chunk in gateway.inference.CompleteStream(request)]
    assert (chunk.delta, chunk.reply) == (first.message.content, first)
    assert len(gateway.spool.exchanges) == 1


async def test_the_same_request_id_in_capitals_is_the_same(gateway: Gateway) -> None:
    first = await gateway.inference.Complete(a_request(request_id=AN_ID.lower()))
    assert await gateway.inference.Complete(a_request(request_id=AN_ID.upper())) == first
    assert gateway.exchange.request.request_id == AN_ID.lower()


async def test_the_same_request_id_with_another_request_is_refused(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(request_id=AN_ID))
    code, details = await status_of(gateway.inference.Complete(a_request("another", request_id=AN_ID)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("request_id: belongs to another request")


async def test_a_failed_request_may_be_sent_again_under_its_id(gateway: Gateway) -> None:
    gateway.teacher.breaks()
    await status_of(gateway.inference.Complete(a_request(request_id=AN_ID)))
    gateway.teacher.failure = None
    reply = await gateway.inference.Complete(a_request(request_id=AN_ID))
    assert reply.message.content == "the teacher says so"
    assert {exchange.id for exchange in gateway.spool.exchanges} == {AN_ID.lower()}


async def test_who_waits_for_a_cancelled_twin_is_answered_himself(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    request = a_request(request_id=AN_ID)
    first = gateway.inference.Complete(request)
    await until(lambda: gateway.teacher.asks)
    gateway.teacher.delay_s = 0
    second = gateway.inference.Complete(request)
    await until(lambda: gateway.door.open_calls == 2)
    first.cancel()
    assert (await second).message.content == "the teacher says so"
    assert [exchange.outcome for exchange in gateway.spool.exchanges] == [
        events.OUTCOME_CANCELLED,
        events.OUTCOME_ANSWERED,
    ]
