"""The gateway as a process of its own: started, asked, stopped by SIGTERM, its exchanges on Kafka."""

import os
import signal
import sys
from asyncio.subprocess import create_subprocess_exec
from pathlib import Path

import grpc
import openai
import pytest

from deploy.local.addresses import free_ports
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc
from services import topics
from services.gateway.__main__ import teacher
from services.gateway.settings import GatewaySettings
from services.kafka import Follower, create_topics
from services.settings import KafkaSettings, WrongSettings
from tests.services.gateway.openai_like import KEY, OpenAILike, serving

REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.contract


def environment(port: int, kafka: str, teacher: OpenAILike, spool: Path, http_port: int = 0) -> dict[str, str]:
    return os.environ | {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "HTTP_LISTEN": f"127.0.0.1:{http_port}" if http_port else "",
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TEACHER_BASE_URL": teacher.url,
        "TEACHER_API_KEY": KEY,
        "SPOOL_DIR": str(spool),
        "METRICS_LISTEN": "",
    }


def a_request(content: str) -> inference.Request:
    request = inference.Request(task="address-extraction")
    request.messages.add(role=inference.ROLE_USER, content=content)
    return request


async def ask_by_http(port: int, content: str) -> str:
    """The exchange's id."""
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none") as client:
        message = {"role": "user", "content": content}
        reply = await client.chat.completions.create(model="tutelage/address-extraction", messages=[message])
    return reply.id.removeprefix("chatcmpl-")


def read_exchanges(kafka: KafkaSettings) -> list[events.Exchange]:
    follower = Follower(kafka, topics.EXCHANGES.name)
    follower.start(10)
    found: list[events.Exchange] = []
    while not follower.caught_up() or not found:
        found += [topics.decode(record) for record in follower.poll(100, 0.2)]
    follower.close()
    return found


async def test_a_gateway_that_is_told_to_stop_has_brought_every_exchange_to_kafka(tansu: str, tmp_path: Path):
    kafka, (port, http_port) = KafkaSettings(kafka_bootstrap_servers=tansu), free_ports(2)
    create_topics(kafka, partitions=1)
    async with serving() as teacher:
        teacher.text = '{"street":"Main St"}'
        command = (sys.executable, "-m", "services.gateway")
        variables = environment(port, tansu, teacher, tmp_path / "spool", http_port)
        process = await create_subprocess_exec(*command, cwd=REPOSITORY, env=variables)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                request = a_request("Main St, asked four times")
                stub = inference_pb2_grpc.InferenceStub(channel)
                replies = [await stub.Complete(request, wait_for_ready=True, timeout=60) for _ in range(3)]
            by_http = await ask_by_http(http_port, "Main St, asked four times")
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    exchanges = sorted((one for one in read_exchanges(kafka) if one.request == request), key=lambda one: one.sequence)
    assert [exchange.reply for exchange in exchanges[:3]] == replies
    assert (exchanges[3].id, exchanges[3].origin) == (by_http, "http")
    assert [exchange.sequence for exchange in exchanges] == [1, 2, 3, 4]
    assert len({exchange.source for exchange in exchanges}) == 1


async def test_sigterm_in_mid_stream_finishes_what_it_can_and_says_unavailable_of_the_rest(tansu: str, tmp_path: Path):
    kafka, port = KafkaSettings(kafka_bootstrap_servers=tansu), free_ports(1)[0]
    create_topics(kafka, partitions=1)
    async with serving() as teacher:
        teacher.text = "a b c d e f g h"
        command = (sys.executable, "-m", "services.gateway")
        variables = environment(port, tansu, teacher, tmp_path / "spool") | {"SHUTDOWN_GRACE_S": "4"}
        process = await create_subprocess_exec(*command, cwd=REPOSITORY, env=variables)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = inference_pb2_grpc.InferenceStub(channel)
                teacher.pause_s = 60
                slow = stub.CompleteStream(a_request("slow"), wait_for_ready=True, timeout=60)
                assert (await slow.read()).delta == "a"
                teacher.pause_s = 0.05
                quick = stub.CompleteStream(a_request("quick"), timeout=60)
                assert (await quick.read()).delta == "a"
                process.send_signal(signal.SIGTERM)
                while not (chunk := await quick.read()).HasField("reply"):
                    pass
                assert chunk.reply.message.content == teacher.text
                with pytest.raises(grpc.aio.AioRpcError, match="the gateway stops before there was an answer") as end:
                    await slow.read()
                assert end.value.code() is grpc.StatusCode.UNAVAILABLE
        finally:
            assert await process.wait() == 0
    found = {one.request.messages[0].content: one for one in read_exchanges(kafka) if one.request.messages}
    assert found["quick"].outcome == events.OUTCOME_ANSWERED
    assert (found["slow"].outcome, found["slow"].error) == (events.OUTCOME_FAILED, "the gateway was stopped")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TEACHER_BASE_URL": "localhost:9"}, "TEACHER_BASE_URL: does not begin with http:// or https:// and a host"),
        ({"TEACHER_BASE_URL": "https://localhost:9", "TEACHER_HTTP": "1.1", "TEACHER_CA_FILE": "/none"}, "CA_FILE"),
    ],
)
def test_a_teacher_who_can_not_be_asked_is_told_in_a_line(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match=told):
        teacher(GatewaySettings())
