"""Keys and quotas of a gateway that is a process of its own, beside a broker: made, used up, restarted, taken back."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from deploy.local.addresses import free_ports
from protos import control_pb2 as control
from protos import events_pb2 as events
from protos import inference_pb2_grpc
from services import tasks, topics
from services.controller import keys
from services.controller.promotions import Decision
from services.gateway import reserves
from services.kafka import Follower, Producer, create_topics
from services.settings import KafkaSettings
from tests.services.gateway.openai_like import OpenAILike, serving
from tests.services.gateway.test_main import REPOSITORY, a_request, environment, read_exchanges

pytestmark = pytest.mark.contract
KEY_ID = "0a1b2c3d4e5f"
SECRET = f"tt_{KEY_ID}_only-for-this-test"
WITHIN_S = 30.0


@dataclass
class Gateway:
    """A gateway that asks for keys, and a caller of it."""

    kafka: KafkaSettings
    teacher: OpenAILike
    spool: Path
    port: int

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        variables = environment(self.port, self.kafka.kafka_bootstrap_servers, self.teacher, self.spool)
        command = (sys.executable, "-m", "services.gateway")
        process = await create_subprocess_exec(*command, cwd=REPOSITORY, env=variables | {"REQUIRE_KEYS": "true"})
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    async def call(self, secret: str = SECRET) -> tuple[str, dict[str, str]]:
        """How a call ends, and the metadata behind it."""
        metadata = (("authorization", f"Bearer {secret}"),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            call = inference_pb2_grpc.InferenceStub(channel).Complete(
                a_request("Main St"), wait_for_ready=True, timeout=WITHIN_S, metadata=metadata
            )
            code = (await call.code()).name
            return code, {str(key): str(value) for key, value in await call.trailing_metadata()}

    async def until(self, code: str) -> dict[str, str]:
        """Call until that is how it ends."""
        async with asyncio.timeout(WITHIN_S):
            while (ended := await self.call())[0] != code:  # noqa: ASYNC110 - another process makes it true
                await asyncio.sleep(0.1)
        return ended[1]


def tell(kafka: KafkaSettings, key: events.ApiKey) -> None:
    producer = Producer(kafka)
    producer.send(topics.encode(topics.KEYS, key))
    assert producer.flush(10) == 0


def usages(kafka: KafkaSettings) -> list[events.KeyUsage]:
    follower = Follower(kafka, topics.KEY_USAGE.name)
    follower.start(10)
    found: list[events.KeyUsage] = []
    while not follower.caught_up():
        found += [topics.decode(record) for record in follower.poll(100, 0.2)]
    follower.close()
    return [usage for usage in found if usage.key_id == KEY_ID]  # The broker has other tests' keys, too.


async def until_told(kafka: KafkaSettings) -> None:
    """Return when it is on the topic what the key has spent."""
    async with asyncio.timeout(WITHIN_S):
        while not any(usage.cost_usd.strip("0.") for usage in await asyncio.to_thread(usages, kafka)):
            pass


def a_key() -> events.ApiKey:
    """One whose budget is as much as a call may cost, so that none is let in once one has cost anything."""
    task = tasks.load(REPOSITORY / "deploy/tasks")["address-extraction"]
    usd = reserves.most(task, a_request("Main St")).usd
    wish = control.CreateKeyRequest(name="shop", quota=events.Quota(usd_per_day=f"{usd:f}"))
    return keys.made(wish, SECRET, Decision(KEY_ID, "a trial", "ann", datetime.now(UTC)))


async def test_a_key_is_let_in_spends_its_budget_also_across_a_kill_is_credited_and_taken_back(
    tansu: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(kafka_bootstrap_servers=tansu)
    create_topics(kafka, partitions=1)
    async with serving() as teacher:
        teacher.text = '{"street":"Main St"}'
        gateway = Gateway(kafka, teacher, tmp_path / "spool", free_ports(1)[0])
        async with gateway.running() as process:
            assert (await gateway.call())[0] == "UNAUTHENTICATED"
            tell(kafka, key := a_key())
            await gateway.until("OK")
            hints = await gateway.until("RESOURCE_EXHAUSTED")
            assert 0 < int(hints["retry-after"]) <= 86_400
            await until_told(kafka)
            process.kill()
            await process.wait()
        async with gateway.running():
            await gateway.until("RESOURCE_EXHAUSTED")
            tell(kafka, key := keys.credited(key, Decimal(1), Decision("-", "a fault", "bob", datetime.now(UTC))))
            await gateway.until("OK")
            tell(kafka, keys.revoked(key, Decision("-", "it leaked", "bob", datetime.now(UTC))))
            await gateway.until("UNAUTHENTICATED")
    mine = [one for one in read_exchanges(kafka) if one.key_id]
    assert {one.key_id for one in mine} == {KEY_ID}
    assert {one.source for one in mine} == {usage.source for usage in usages(kafka) if usage.cost_usd.strip("0.")}
