"""The server around the calls: limits, health, reflection, stopping, origins and feedback."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos import events_pb2 as events
from services import topics
from services.gateway.server import Server
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import AN_ID, a_feedback, a_request, until

pytestmark = pytest.mark.contract


async def test_a_call_above_the_limit_of_open_calls_is_refused_with_a_reason(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    held = [gateway.inference.Complete(a_request()) for _ in range(4)]
    await until(lambda: len(gateway.teacher.asks) == 4)
    code, details = await status_of(gateway.inference.Complete(a_request()))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details == "4 calls are open, the limit of this gateway for calls of no higher priority: try again later"
    for call in held:
        call.cancel()


async def test_a_message_above_the_servers_limit_is_refused(gateway: Gateway) -> None:
    code, details = await status_of(gateway.inference.Complete(a_request("x" * 9_000_000)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "8388608" in details


async def test_intake_says_that_a_request_came_by_kafka(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(), metadata=(("x-tutelage-origin", "kafka"),))
    await gateway.inference.Complete(a_request(), metadata=(("x-tutelage-origin", "elsewhere"),))
    assert [exchange.origin for exchange in gateway.spool.exchanges] == ["kafka", "grpc"]


async def test_feedback_is_written_down_with_an_id_and_a_time(gateway: Gateway) -> None:
    receipt = await gateway.feedback.Record(a_feedback(group_key="customer 7", correction="it is this"))
    (record,) = gateway.spool.records
    stored = topics.decode(record)
    assert (record.topic, record.key) == ("feedback", b"customer 7")
    assert (stored.id, stored.exchange_id, stored.correction) == (receipt.id, AN_ID.lower(), "it is this")
    assert stored.created_at.seconds > 0


async def test_health_says_that_it_serves_until_it_stops(gateway: Gateway) -> None:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="tutelage.v1.Inference"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(gateway.server.stop())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    await stopping


async def test_a_stopping_gateway_finishes_what_is_open(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 0.2
    call = gateway.inference.Complete(a_request())
    await until(lambda: gateway.teacher.asks)
    stopping = asyncio.create_task(gateway.server.stop())
    assert (await call).message.content == "the teacher says so"
    await stopping


async def test_what_is_still_open_when_the_grace_is_over_is_unavailable_and_not_cancelled(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    calls = [gateway.inference.Complete(a_request()), gateway.inference.CompleteStream(a_request()).read()]
    ends = [asyncio.create_task(status_of(call)) for call in calls]
    await until(lambda: len(gateway.teacher.asks) == 2)
    await gateway.server.stop()
    said = "the gateway stops before there was an answer: try again, another one will"
    assert await asyncio.gather(*ends) == [(grpc.StatusCode.UNAVAILABLE, said)] * 2
    assert gateway.teacher.cancelled == 2
    assert [(one.outcome, one.error) for one in gateway.spool.exchanges] == [
        (events.OUTCOME_FAILED, "the gateway was stopped")
    ] * 2


async def test_a_call_that_comes_after_the_stop_has_begun_is_unavailable(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 0.3
    call = gateway.inference.Complete(a_request())
    await until(lambda: gateway.teacher.asks)
    closing = asyncio.create_task(gateway.door.close(60))
    await asyncio.sleep(0)
    said = "the gateway stops and takes no more calls: try again, another one will answer"
    assert await status_of(gateway.inference.Complete(a_request())) == (grpc.StatusCode.UNAVAILABLE, said)
    assert await status_of(gateway.feedback.Record(a_feedback())) == (grpc.StatusCode.UNAVAILABLE, said)
    assert (await call).message.content == "the teacher says so"
    await closing
    assert not gateway.door.turned_out


async def test_whoever_watches_the_health_does_not_hold_up_the_stop(gateway: Gateway) -> None:
    watch = health_pb2_grpc.HealthStub(gateway.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    gateway.server._grace_s = 3600
    await gateway.server.stop()


async def test_reflection_names_the_services(gateway: Gateway) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answers = [answer async for answer in stub.ServerReflectionInfo(asked)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"tutelage.v1.Inference", "tutelage.v1.Feedback", "grpc.health.v1.Health"} <= names


async def test_a_port_that_is_taken_is_an_error_that_names_it(gateway: Gateway) -> None:
    taken = gateway.settings.model_copy(update={"gateway_listen": f"127.0.0.1:{gateway.port}"})
    second = Server(taken, gateway.inference_servicer, gateway.feedback_servicer, gateway.door)
    with pytest.raises(OSError, match=f"GATEWAY_LISTEN=127.0.0.1:{gateway.port} can't be bound"):
        await second.start()
    await second.stop()
