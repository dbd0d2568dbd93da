"""Calls over gRPC where keys are asked for."""

import asyncio
from hashlib import sha256
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.gateway.callers import Callers
from services.gateway.door import REFUSED
from services.gateway.keys import Holder, Keys, KeysUnread, Unauthenticated
from services.gateway.quotas import Quotas
from services.gateway.settings import GatewaySettings
from services.gateway.usage import Usage
from tests.fakes.kafka import FakeBroker, FakeFollower, FakeProducer
from tests.services.gateway.calls import status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import AN_ID, a_feedback, a_request
from tests.services.gateway.grpc_caller import grpc_bytes
from tests.services.gateway.grpc_echo import RawCaller

pytestmark = pytest.mark.contract
ANN = (("authorization", "Bearer ann's"),)
EVE = (("authorization", "Bearer eve's"),)


class KnownKeys(Keys):
    """Keys by what callers send, without a topic."""

    def __init__(self, **tasks_of: set[str]) -> None:
        self.unread = False
        self._by_digest = {}
        for name, tasks in tasks_of.items():
            self.put(Holder(name, frozenset(tasks)))

    def put(self, holder: Holder) -> None:
        self._by_digest[sha256(f"{holder.id}'s".encode()).digest()] = holder

    def holder(self, authorization: str) -> Holder:
        if self.unread:
            raise KeysUnread("not yet")
        try:
            return self._by_digest[sha256(authorization.removeprefix("Bearer ").encode()).digest()]
        except KeyError as error:
            raise Unauthenticated("who are you?") from error


@pytest.fixture
def keys(gateway: Gateway) -> KnownKeys:
    made, quotas, broker = KnownKeys(ann=set(), bob={"sing"}), Quotas("s"), FakeBroker()
    usage = Usage(quotas, FakeFollower(broker, "key-usage"), FakeProducer(broker), lambda _old: None)
    gateway.reception._callers = callers = Callers(made, quotas, usage)
    gateway.exchanges._reserve = callers.reserve
    return made


async def test_an_exchange_says_by_which_key_it_came(gateway: Gateway, keys: KnownKeys) -> None:
    await gateway.inference.Complete(a_request(), metadata=ANN)
    assert gateway.exchange.key_id == "ann"


async def test_a_request_id_of_one_key_names_nothing_of_anothers(gateway: Gateway, keys: KnownKeys) -> None:
    request = a_request(request_id=AN_ID)
    keys.put(Holder("eve"))
    anns = await gateway.inference.Complete(request, metadata=ANN)
    eves = await gateway.inference.Complete(request, metadata=EVE)
    stolen = await gateway.inference.Complete(a_request("mine", request_id=anns.exchange_id), metadata=EVE)
    assert len({anns.exchange_id, eves.exchange_id, stolen.exchange_id, AN_ID.lower()}) == 4
    assert [exchange.id for exchange in gateway.spool.exchanges] == [
        reply.exchange_id for reply in (anns, eves, stolen)
    ]
    assert await gateway.inference.Complete(request, metadata=ANN) == anns


async def test_where_no_keys_are_asked_for_the_exchange_names_none(gateway: Gateway) -> None:
    await gateway.inference.Complete(a_request(), metadata=ANN)
    assert gateway.exchange.key_id == ""


async def each_call(gateway: Gateway, metadata: Any) -> set[grpc.StatusCode]:
    async def streamed() -> None:
        async for _ in gateway.inference.CompleteStream(a_request(), metadata=metadata):
            pass

    calls = (
        gateway.inference.Complete(a_request(), metadata=metadata),
        streamed(),
        gateway.feedback.Record(a_feedback(), metadata=metadata),
    )
    return {(await status_of(call))[0] for call in calls}


async def test_strangers_get_nothing_and_nobody_is_asked(gateway: Gateway, keys: KnownKeys) -> None:
    assert await each_call(gateway, ()) == {grpc.StatusCode.UNAUTHENTICATED}
    assert await each_call(gateway, (("authorization", "Bearer eve's"),)) == {grpc.StatusCode.UNAUTHENTICATED}
    assert gateway.teacher.asks == []
    assert gateway.spool.exchanges == []
    assert gateway.spool.records == []


async def test_a_key_for_another_task_is_denied(gateway: Gateway, keys: KnownKeys) -> None:
    assert await each_call(gateway, (("authorization", "Bearer bob's"),)) == {grpc.StatusCode.PERMISSION_DENIED}


async def test_only_a_key_that_may_audit_says_that_a_call_was_drawn(gateway: Gateway, keys: KnownKeys) -> None:
    drawn = a_feedback(correction="yes", metrics={"audit": 1.0})
    code, said = await status_of(gateway.feedback.Record(drawn, metadata=ANN))
    assert (code, said.partition(": ")[0]) == (grpc.StatusCode.PERMISSION_DENIED, "metrics")
    assert "`tutelage key create --may-audit`" in said
    assert gateway.spool.records == []
    keys.put(Holder("eve", may_audit=True))
    await gateway.feedback.Record(drawn, metadata=EVE)
    await gateway.feedback.Record(a_feedback(metrics={"seconds": 1.0}), metadata=ANN)
    assert len(gateway.spool.records) == 2


async def test_without_keys_everybody_may_say_that_a_call_was_drawn(gateway: Gateway) -> None:
    await gateway.feedback.Record(a_feedback(metrics={"audit": 1.0}))
    assert len(gateway.spool.records) == 1


async def test_feedback_uses_up_nothing_and_a_key_over_its_quota_can_give_it(gateway: Gateway, keys: KnownKeys) -> None:
    keys.put(Holder("ann", requests_per_minute=1))
    for _ in range(3):
        await gateway.feedback.Record(a_feedback(), metadata=ANN)
    await gateway.inference.Complete(a_request(), metadata=ANN)
    code, _said = await status_of(gateway.inference.Complete(a_request(), metadata=ANN))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    await gateway.feedback.Record(a_feedback(), metadata=ANN)
    assert len(gateway.spool.records) == 4


async def test_a_stranger_does_not_learn_which_tasks_there_are(gateway: Gateway, keys: KnownKeys) -> None:
    code, said = await status_of(gateway.inference.Complete(a_request(task="nothing")))
    assert (code, said) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")


async def test_all_wait_until_the_keys_are_read(gateway: Gateway, keys: KnownKeys) -> None:
    keys.unread = True
    assert await each_call(gateway, ANN) == {grpc.StatusCode.UNAVAILABLE}


async def test_health_needs_no_key(gateway: Gateway, keys: KnownKeys) -> None:
    reply = await health_pb2_grpc.HealthStub(gateway.channel).Check(health_pb2.HealthCheckRequest())
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("listen", "required"),
    [
        *(("127.0.0.1:50051", False), ("localhost:1", False), ("[::1]:1", False)),
        *(("0.0.0.0:50051", True), ("[::]:50051", True), ("10.0.0.7:1", True), ("gateway.example:1", True)),
    ],
)
def test_beyond_loopback_keys_are_required_unless_the_settings_say_otherwise(listen: str, required: bool) -> None:
    assert GatewaySettings(gateway_listen=listen).keys_required is required
    assert GatewaySettings(gateway_listen=listen, require_keys=not required).keys_required is not required


COMPLETE, RECORD = "/tutelage.v1.Inference/Complete", "/tutelage.v1.Feedback/Record"


@pytest.mark.parametrize("path", [COMPLETE, RECORD])
@pytest.mark.parametrize("sent", [{"authorization": "Bearer eve's"}, {}])
async def test_a_stranger_hears_so_before_he_has_sent_his_request(
    gateway: Gateway, keys: KnownKeys, path: str, sent: dict[str, str]
) -> None:
    counted = REFUSED.labels(path.rpartition("/")[2], "UNAUTHENTICATED")
    before = counted._value.get()
    async with RawCaller(gateway.port) as caller:
        end = await caller.end(caller.ask("", bytes(5), ends=False, headers={"_path": path, **sent}))
    assert (end["grpc-status"], end["grpc-message"]) == ("16", "who are you?")
    assert counted._value.get() == before + 1
    assert gateway.door.held.bytes == 0


async def test_who_may_come_is_told_to_try_again_before_his_request_where_keys_are_unread(
    gateway: Gateway, keys: KnownKeys
) -> None:
    keys.unread = True
    async with RawCaller(gateway.port) as caller:
        end = await caller.end(caller.ask("", ends=False, headers={"_path": COMPLETE, **dict(ANN)}))
    assert (end["grpc-status"], end["grpc-message"], end["retry-after"]) == ("14", "not yet", "1")


async def test_a_callers_request_may_come_in_parts(gateway: Gateway, keys: KnownKeys) -> None:
    message = grpc_bytes(a_request().SerializeToString())
    async with RawCaller(gateway.port) as caller:
        number = caller.ask("", message[:20], ends=False, headers={"_path": COMPLETE, **dict(ANN)})
        while not gateway.door.held.bytes:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.001)
        caller.h2.send_data(number, message[20:], end_stream=True)
        caller.send()
        assert (await caller.end(number))["grpc-status"] == "0"
    assert gateway.exchange.key_id == "ann"
    assert gateway.door.held.bytes == 0
