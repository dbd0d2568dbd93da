"""Several gateway processes behind one port, by the real service."""

import os
import signal
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from deploy.local.addresses import free_ports
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc
from services.gateway.processes import forgotten, own, spool_dir
from services.gateway.settings import GatewaySettings
from services.kafka import create_topics
from services.settings import KafkaSettings, WrongSettings
from tests.services.gateway.examples import until
from tests.services.gateway.openai_like import serving
from tests.services.gateway.test_main import REPOSITORY, a_request, environment, read_exchanges


def test_the_first_process_has_the_spool_itself_and_the_others_a_folder_in_it() -> None:
    shared = Path("spool")
    assert [spool_dir(shared, number) for number in (0, 1)] == [shared, shared / "process-1"]


def test_metrics_ports_count_up_and_a_free_one_stays_free() -> None:
    several = GatewaySettings(metrics_listen="127.0.0.1:9100", gateway_processes=3)
    assert own(several, 2)["METRICS_LISTEN"] == "127.0.0.1:9102"
    assert own(several.model_copy(update={"metrics_listen": "127.0.0.1:0"}), 2)["METRICS_LISTEN"] == "127.0.0.1:0"
    assert own(several.model_copy(update={"metrics_listen": ""}), 2)["METRICS_LISTEN"] == ""


def test_a_spool_that_no_process_has_any_more_is_found_if_it_holds_records(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"process-{number}").mkdir()
    for number in (1, 2):
        (tmp_path / f"process-{number}" / "1.seg").touch()
    assert forgotten(tmp_path, processes=2) == [tmp_path / "process-2"]


def test_several_processes_cannot_share_a_port_that_nobody_named() -> None:
    for name in ("gateway_listen", "http_listen"):
        with pytest.raises(WrongSettings, match=f"{name.upper()}: port 0 can't be shared"):
            GatewaySettings(**{name: "127.0.0.1:0"}, gateway_processes=2)


@asynccontextmanager
async def several(variables: dict[str, str]) -> AsyncIterator[tuple[Process, psutil.Process]]:
    command = (sys.executable, "-m", "services.gateway")
    process = await create_subprocess_exec(*command, cwd=REPOSITORY, env=variables)
    keeper = psutil.Process(process.pid)
    try:
        yield process, keeper
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def answered(port: int) -> inference.Reply:
    """By a connection of its own, so that any process may have it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        return await stub.Complete(a_request("Side Street"), wait_for_ready=True, timeout=60)


@pytest.mark.contract
async def test_a_process_that_is_killed_is_replaced_and_none_outlives_the_one_that_keeps_them(
    tansu: str, tmp_path: Path
) -> None:
    kafka, port = KafkaSettings(kafka_bootstrap_servers=tansu), free_ports(1)[0]
    create_topics(kafka, partitions=1)
    async with serving() as teacher:
        teacher.text = '{"street":"Side Street"}'
        variables = environment(port, tansu, teacher, tmp_path / "spool") | {"GATEWAY_PROCESSES": "2"}
        async with several(variables) as (process, keeper):
            replies = [await answered(port) for _ in range(10)]
            await until(lambda: len(keeper.children()) == 2)
            (killed, _) = keeper.children()
            killed.send_signal(signal.SIGKILL)
            await until(lambda: len(others := keeper.children()) == 2 and killed not in others)
            replies += [await answered(port) for _ in range(10)]
            children = keeper.children()
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    known = {exchange.id for exchange in read_exchanges(kafka)}
    assert {reply.exchange_id for reply in replies} <= known


@pytest.mark.contract
async def test_processes_that_die_at_once_are_given_up_with_an_exit_code(tansu: str, tmp_path: Path) -> None:
    async with serving() as teacher:
        variables = environment(free_ports(1)[0], tansu, teacher, tmp_path / "spool") | {"GATEWAY_PROCESSES": "2"}
        variables |= {"TASKS_DIR": str(tmp_path / "none")}
        async with several(variables) as (process, _keeper):
            assert await process.wait() == 1
